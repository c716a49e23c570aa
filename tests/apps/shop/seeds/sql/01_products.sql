INSERT INTO public.products (sku, name, price_cents)
VALUES ('tea', 'Tea', 450), ('mug', 'Mug', 1200);
