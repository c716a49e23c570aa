CREATE TABLE public.users (
  uuid uuid PRIMARY KEY,
  handle text NOT NULL,
  display_name text NOT NULL,
  email text NOT NULL,
  cognito_user_id text NOT NULL
);
CREATE TABLE public.meetings (
  host uuid NOT NULL REFERENCES public.users,
  topic text NOT NULL
);
