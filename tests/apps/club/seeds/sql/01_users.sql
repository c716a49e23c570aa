INSERT INTO public.users (uuid, handle, display_name, email, cognito_user_id)
SELECT uuid, handle, display_name, email, 'none yet' FROM pg_temp.people;
INSERT INTO public.meetings (host, topic) VALUES (pg_temp.person('ada'), 'engines');
