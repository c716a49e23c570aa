-- Every user with the link to the user pool: the handle, which is the pool's preferred_username, and the pool user's
-- id as this row has it. Read by cognito.sync-ids and check, by position: uuid, handle, e-mail, pool user's id.
SELECT
  users.uuid::text AS uuid,
  users.handle,
  users.email,
  users.cognito_user_id
FROM public.users
ORDER BY users.handle, users.uuid
