-- Everybody in seeds/people.csv, which is at hand here as pg_temp.people (person, handle, display_name, email, uuid).
-- An id follows from `person`, so a rebuilt database has the same ones and nothing elsewhere is orphaned.
INSERT INTO public.users (uuid, display_name, handle, email, cognito_user_id)
SELECT uuid, display_name, handle, email, 'MOCK'
FROM pg_temp.people
ON CONFLICT (uuid) DO UPDATE
SET display_name = excluded.display_name, handle = excluded.handle, email = excluded.email;
