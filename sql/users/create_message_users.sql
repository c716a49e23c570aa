-- Both sides of a new conversation: the signed-in sender, and the receiver by handle.
SELECT
    users.uuid,
    users.display_name,
    users.handle,
    users.cognito_user_id,
    CASE WHEN users.cognito_user_id = %(cognito_user_id)s THEN 'sender' ELSE 'recv' END AS kind
FROM public.users
WHERE users.cognito_user_id = %(cognito_user_id)s
   OR users.handle = %(user_receiver_handle)s
