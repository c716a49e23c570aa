-- Change the signed-in user's own name. No row back means that no user has this pool id.
UPDATE public.users
SET display_name = %(display_name)s
WHERE users.cognito_user_id = %(cognito_user_id)s
RETURNING users.handle
