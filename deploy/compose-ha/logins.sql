-- The logins of docs/database.md and one for replication, with the passwords in the
-- files. It can be repeated; a new password in a file is set by the next run.

-- The standby cannot connect before this has created its login.
SET synchronous_commit = local;

\set replica_password `cat /run/secrets/replica_password`
\set migrator_password `cat /run/secrets/migrator_password`
\set service_password `cat /run/secrets/service_password`

SELECT format('CREATE ROLE %I %s', name, options)
FROM (VALUES
    ('keyward_owner', 'NOLOGIN NOINHERIT'),
    ('keyward_public', 'NOLOGIN NOINHERIT'),
    ('keyward_app', 'NOLOGIN NOINHERIT'),
    ('keyward_platform', 'NOLOGIN NOINHERIT'),
    ('keyward_migrator', 'LOGIN'),
    ('keyward_service', 'LOGIN'),
    ('keyward_replica', 'LOGIN REPLICATION')) AS wanted (name, options)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE keyward_replica PASSWORD :'replica_password';
ALTER ROLE keyward_migrator PASSWORD :'migrator_password';
ALTER ROLE keyward_service PASSWORD :'service_password';
GRANT keyward_owner, keyward_public, keyward_app, keyward_platform TO keyward_migrator;
GRANT keyward_public, keyward_app, keyward_platform TO keyward_service;

SELECT 'CREATE DATABASE keyward OWNER keyward_migrator'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'keyward')
\gexec
