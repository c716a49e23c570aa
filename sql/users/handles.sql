-- Every handle, to suggest the nearest one to a name that nobody has.
SELECT users.handle
FROM public.users
ORDER BY users.handle
LIMIT 10000
