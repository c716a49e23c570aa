-- The users behind several handles, in one query. A handle that two users have gives both, the older one first.
--   handles  text[]
SELECT
  users.uuid,
  users.handle,
  users.display_name
FROM public.users
WHERE users.handle = ANY(%(handles)s)
ORDER BY users.created_at, users.uuid
