-- Answer an activity as the signed-in user, and count the answer at what it answers.
WITH parent AS (
    UPDATE public.activities
    SET replies_count = coalesce(replies_count, 0) + 1
    WHERE activities.uuid = %(reply_to_activity_uuid)s
)
INSERT INTO public.activities (user_uuid, message, reply_to_activity_uuid)
VALUES (
    (SELECT users.uuid FROM public.users WHERE users.cognito_user_id = %(cognito_user_id)s LIMIT 1),
    %(message)s,
    %(reply_to_activity_uuid)s
)
RETURNING uuid
