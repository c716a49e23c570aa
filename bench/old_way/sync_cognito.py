"""Step 4: one UPDATE and one commit a pool user."""

import os

import psycopg
from common import client

cognito = client("cognito-idp", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER")
pool = cognito.list_user_pools(MaxResults=10)["UserPools"][0]["Id"]
for user in cognito.list_users(UserPoolId=pool)["Users"]:
    attributes = {attribute["Name"]: attribute["Value"] for attribute in user["Attributes"]}
    with psycopg.connect(os.environ["CONNECTION_URL"]) as connection:
        connection.execute(
            "UPDATE public.users SET cognito_user_id = %s WHERE handle = %s",
            (attributes["sub"], attributes["preferred_username"]),
        )
