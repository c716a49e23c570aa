-- What the people of seeds/people.csv have posted. `written` counts back from now, so the feed always looks recent;
-- `lasts` counts on from now. An id follows from `key`, so running this again changes the rows instead of adding some.
WITH posted (key, author, written, lasts, likes, reposts, answers, message) AS (
    VALUES
    ('first-post', 'andrewbrown', interval '6 days 4 hours', interval '30 days', 41, 7, NULL,
     'Postgres, DynamoDB and a user pool, all on one laptop, and nothing to click. I could get used to this.'),
    ('first-post-1', 'bayko', interval '6 days 3 hours', interval '30 days', 6, 0, 'first-post',
     'Wait until you see how fast the second start is.'),
    ('first-post-2', 'londo', interval '6 days 1 hour', interval '30 days', 9, 1, 'first-post',
     'In my day a database came with a man who guarded it. He also drank.'),
    ('index', 'runa', interval '5 days 7 hours', interval '14 days', 23, 4, NULL,
     'Added one index. The slowest page of the app went from 900 ms to 11. Went for a walk to celebrate.'),
    ('index-1', 'tomas', interval '5 days 6 hours', interval '14 days', 3, 0, 'index',
     'Which column? Asking for a friend, whose page takes 900 ms.'),
    ('coffee', 'tomas', interval '4 days 2 hours', interval '2 days', 12, 0, NULL,
     'The café under the office now opens at seven. Stand-up has moved there, unofficially.'),
    ('lecture', 'imani', interval '3 days 9 hours', interval '30 days', 35, 11, NULL,
     'Slides of last night''s talk are up: "Access patterns first, tables second". Thank you for the questions!'),
    ('lecture-1', 'andrewbrown', interval '3 days 8 hours', interval '30 days', 8, 0, 'lecture',
     'The part about sparse indexes alone was worth staying up for.'),
    ('lecture-2', 'runa', interval '3 days 5 hours', interval '30 days', 4, 0, 'lecture',
     'Could you post the table with the read costs? My photo of it is all glare.'),
    ('spoo', 'londo', interval '2 days 11 hours', interval '7 days', 17, 2, NULL,
     'The replicator claims that this is spoo. I have eaten spoo. This, my friends, is not spoo.'),
    ('bike', 'bayko', interval '1 day 6 hours', interval '7 days', 5, 0, NULL,
     'Twenty kilometres before breakfast, eighteen of them against the wind. Both ways. How?'),
    ('deploy', 'imani', interval '20 hours', interval '30 days', 14, 3, NULL,
     'Friday deploy went fine. I still do not recommend Friday deploys.'),
    ('deploy-1', 'bayko', interval '19 hours', interval '30 days', 7, 0, 'deploy',
     'Noted, and will be quoted back to you on the first Friday that it does not.'),
    ('northern-lights', 'runa', interval '5 hours', interval '3 days', 52, 9, NULL,
     'Green sky over the harbour tonight. No filter, cold fingers.'),
    ('question', 'tomas', interval '40 minutes', interval '1 day', 1, 0, NULL,
     'Does anyone have a spare keyboard with ñ on it? Mine met the coffee mentioned above.')
)
INSERT INTO public.activities (
    uuid, user_uuid, message, replies_count, reposts_count, likes_count,
    reply_to_activity_uuid, expires_at, created_at
)
SELECT
    md5('activity/' || posted.key)::uuid,
    pg_temp.person(posted.author),
    posted.message,
    (SELECT count(*) FROM posted AS reply WHERE reply.answers = posted.key),
    posted.reposts,
    posted.likes,
    md5('activity/' || posted.answers)::uuid,
    current_timestamp + posted.lasts,
    current_timestamp - posted.written
FROM posted
ON CONFLICT (uuid) DO UPDATE
SET user_uuid = excluded.user_uuid,
    message = excluded.message,
    replies_count = excluded.replies_count,
    reposts_count = excluded.reposts_count,
    likes_count = excluded.likes_count,
    reply_to_activity_uuid = excluded.reply_to_activity_uuid,
    expires_at = excluded.expires_at,
    created_at = excluded.created_at;
