-- A profile page: the user, how much they have posted, and their newest activities.
SELECT
    (
        SELECT row_to_json(profile_row)
        FROM (
            SELECT
                users.uuid,
                users.cognito_user_id AS cognito_user_uuid,
                users.handle,
                users.display_name,
                (SELECT count(*) FROM public.activities WHERE activities.user_uuid = users.uuid) AS cruds_count
        ) AS profile_row
    ) AS profile,
    (
        SELECT coalesce(json_agg(row_to_json(activity_row)), '[]'::json)
        FROM (
            SELECT
                activities.uuid,
                users.handle,
                users.display_name,
                activities.message,
                activities.replies_count,
                activities.reposts_count,
                activities.likes_count,
                activities.reply_to_activity_uuid,
                activities.created_at,
                activities.expires_at
            FROM public.activities
            WHERE activities.user_uuid = users.uuid
            ORDER BY activities.created_at DESC
            LIMIT 40
        ) AS activity_row
    ) AS activities
FROM public.users
WHERE users.handle = %(handle)s
