-- Write the pool user's id into the row of each handle, in one statement. Used by cognito.sync-ids with two arrays of
-- the same length; rows that are right already are not touched.
UPDATE public.users
SET cognito_user_id = pairs.sub
FROM unnest(%(handles)s::text[], %(subs)s::text[]) AS pairs (handle, sub)
WHERE users.handle = pairs.handle
  AND users.cognito_user_id IS DISTINCT FROM pairs.sub
