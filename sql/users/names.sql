-- Every user as others see them, for the names in the group rows. Read by ddb.stream, by position.
SELECT
  users.uuid,
  users.handle,
  users.display_name
FROM public.users
ORDER BY users.uuid
