UPDATE public.users SET cognito_user_id = pairs.sub
FROM unnest(%(handles)s::text[], %(subs)s::text[]) AS pairs (handle, sub)
WHERE users.handle = pairs.handle AND users.cognito_user_id IS DISTINCT FROM pairs.sub
