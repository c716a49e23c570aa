-- The app's tables. Runs on an empty database, as one transaction.
-- No extension is needed: gen_random_uuid() is part of PostgreSQL since version 13.

CREATE TABLE public.users (
    uuid uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    display_name text NOT NULL,
    handle text NOT NULL,
    email text NOT NULL,
    -- The `sub` of the user in the Cognito pool; 'MOCK' until `inv cognito.sync-ids` has found it.
    cognito_user_id text NOT NULL,
    created_at timestamp DEFAULT current_timestamp NOT NULL
);

CREATE TABLE public.activities (
    uuid uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    user_uuid uuid NOT NULL,
    message text NOT NULL,
    replies_count integer DEFAULT 0,
    reposts_count integer DEFAULT 0,
    likes_count integer DEFAULT 0,
    -- What this activity answers; NULL for one that starts a thread.
    reply_to_activity_uuid uuid,
    expires_at timestamp,
    created_at timestamp DEFAULT current_timestamp NOT NULL
);
