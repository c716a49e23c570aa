-- The row of a user of the pool who has confirmed their address. No row back: the handle or the pool id is taken.
INSERT INTO public.users (display_name, handle, email, cognito_user_id)
SELECT %(display_name)s, %(handle)s, %(email)s, %(cognito_user_id)s
WHERE NOT EXISTS (
    SELECT FROM public.users WHERE handle = %(handle)s OR cognito_user_id = %(cognito_user_id)s
)
RETURNING uuid
