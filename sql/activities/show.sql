-- The page of one activity: itself, and the replies to it, oldest first.
SELECT
    (
        SELECT row_to_json(activity_row)
        FROM (
            SELECT
                activities.uuid,
                users.display_name,
                users.handle,
                activities.message,
                activities.replies_count,
                activities.reposts_count,
                activities.likes_count,
                activities.reply_to_activity_uuid,
                activities.expires_at,
                activities.created_at
        ) AS activity_row
    ) AS activity,
    (
        SELECT coalesce(json_agg(row_to_json(reply_row)), '[]'::json)
        FROM (
            SELECT
                replies.uuid,
                authors.display_name,
                authors.handle,
                replies.message,
                replies.replies_count,
                replies.reposts_count,
                replies.likes_count,
                replies.reply_to_activity_uuid,
                replies.created_at
            FROM public.activities AS replies
            LEFT JOIN public.users AS authors ON authors.uuid = replies.user_uuid
            WHERE replies.reply_to_activity_uuid = activities.uuid
            ORDER BY replies.created_at
        ) AS reply_row
    ) AS replies
FROM public.activities
INNER JOIN public.users ON users.uuid = activities.user_uuid
WHERE activities.uuid = %(uuid)s
