-- Step 1: as the old script did it, drop and create, each a statement of its own.
DROP DATABASE IF EXISTS :"name";
CREATE DATABASE :"name";
