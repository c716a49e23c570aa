"""What a database has outside of its schemas: files that make all of it, and what is there of it."""

from __future__ import annotations

from typing import Any

from tasks.localenv.settings import Settings
from tests.support.projects import PEOPLE, SCHEMA, SEED, rows, write

MADE = """
create publication changes for table posts;
select lo_from_bytea(4711, 'large'); comment on large object 4711 is 'kept';
alter default privileges in schema public grant select on tables to public;
create extension postgres_fdw; create server far foreign data wrapper postgres_fdw options (host 'far');
create user mapping for public server far options (user 'me');
create foreign table abroad (id int) server far;
create function seen() returns event_trigger language plpgsql as 'begin null; end';
create event trigger watch on ddl_command_end execute function seen();
create extension citext; comment on extension citext is 'ours';
alter table posts enable row level security; create policy own on posts using (id > 0);
do $do$ begin
  execute format('alter database %I set statement_timeout to ''7s''', current_database());
  execute format('comment on database %I is ''the shop''', current_database());
  execute format('alter database %I connection limit 40', current_database());
  execute format('grant create on database %I to public', current_database());
  execute format('alter role current_user in database %I set work_mem to ''5MB''', current_database());
end $do$;
"""
CHANGED = """
drop publication changes; create publication other for all tables;
select lo_unlink(4711); select lo_create(4712);
alter default privileges in schema public revoke select on tables from public;
drop server far cascade; create server near foreign data wrapper postgres_fdw;
drop event trigger watch; create event trigger other on sql_drop execute function seen();
drop extension citext; create extension hstore;
drop policy own on posts; alter table posts disable row level security;
"""
_PARTS = {
    "publications": "select pubname, puballtables from pg_publication",
    "subscriptions": "select subname, subenabled from pg_subscription join pg_database as d on d.oid = subdbid"
    " where datname = current_database()",
    "large objects": "select lomowner::regrole::text, oid, convert_from(lo_get(oid), 'UTF8'),"
    " obj_description(oid, 'pg_largeobject') from pg_largeobject_metadata",
    "default privileges": "select defaclnamespace::regnamespace::text, defaclobjtype, defaclacl::text"
    " from pg_default_acl",
    "servers": "select srvname, srvoptions::text, fdwname from pg_foreign_server"
    " join pg_foreign_data_wrapper as w on w.oid = srvfdw",
    "user mappings": "select srvname, usename, umoptions::text from pg_user_mappings",
    "foreign tables": "select ftrelid::regclass::text from pg_foreign_table",
    "event triggers": "select evtname, evtevent, evtenabled from pg_event_trigger",
    "extensions": "select extname, obj_description(oid, 'pg_extension') from pg_extension",
    "policies": "select polname, polrelid::regclass::text, relrowsecurity from pg_policy"
    " join pg_class as c on c.oid = polrelid",
}
_OWN = {
    "of the database": "select pg_get_userbyid(datdba), shobj_description(d.oid, 'pg_database'), datconnlimit,"
    " pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider from pg_database as d"
    " where datname = current_database()",
    "settings": "select setrole::regrole::text, setconfig::text from pg_db_role_setting"
    " join pg_database as d on d.oid = setdatabase where datname = current_database()",
    "privileges": "select grantee::regrole::text, privilege_type, is_grantable from pg_database as d,"
    " aclexplode(coalesce(datacl, acldefault('d', datdba))) where datname = current_database()",
}


def files(settings: Settings, made: str = MADE) -> None:
    """Write the files of a project that makes all this."""
    write(settings.root, "sql/schema.sql", SCHEMA + made)
    write(settings.root, "seeds/sql/1_users.sql", SEED)
    write(settings.root, "seeds/people.csv", PEOPLE)


def inside(settings: Settings) -> dict[str, Any]:
    """Return what the database has outside of schemas, by kind."""
    return {kind: sorted(rows(settings, query), key=str) for kind, query in _PARTS.items()}


def own(settings: Settings) -> dict[str, Any]:
    """Return the properties of the database itself, by kind."""
    return {kind: sorted(rows(settings, query), key=str) for kind, query in _OWN.items()}
