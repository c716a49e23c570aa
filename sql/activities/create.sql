-- Post as the owner of a handle. An unknown handle gives no user_uuid, which the table refuses.
INSERT INTO public.activities (user_uuid, message, expires_at)
VALUES (
    (SELECT users.uuid FROM public.users WHERE users.handle = %(handle)s LIMIT 1),
    %(message)s,
    %(expires_at)s
)
RETURNING uuid
