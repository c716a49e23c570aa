SELECT sku, price_cents FROM public.products ORDER BY sku
