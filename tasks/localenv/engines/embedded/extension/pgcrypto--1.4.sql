-- What of pgcrypto the server's own functions can do: digests, HMAC, random values. Signatures: PostgreSQL docs,
-- "pgcrypto". The rest (passwords, ciphers, PGP) says where it is to be found: SQL has no cipher.
\echo Use "CREATE EXTENSION pgcrypto" to load this file. \quit

CREATE FUNCTION gen_random_uuid() RETURNS uuid
  LANGUAGE sql VOLATILE PARALLEL SAFE
  RETURN pg_catalog.gen_random_uuid();

-- Of a random UUID 122 bits are random: SHA-256 over two of them makes 32 bytes.
CREATE FUNCTION gen_random_bytes(count integer) RETURNS bytea
  LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
AS $$
BEGIN
  IF count NOT BETWEEN 1 AND 1024 THEN
    RAISE EXCEPTION 'Length not in range' USING ERRCODE = 'external_routine_invocation_exception';
  END IF;
  RETURN (SELECT substr(string_agg(sha256(uuid_send(pg_catalog.gen_random_uuid())
                                          || uuid_send(pg_catalog.gen_random_uuid())), ''), 1, count)
            FROM generate_series(1, (count + 31) / 32));
END $$;

CREATE FUNCTION digest(data bytea, type text) RETURNS bytea
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
  CASE lower(type)
    WHEN 'md5' THEN RETURN decode(md5(data), 'hex');
    WHEN 'sha224' THEN RETURN sha224(data);
    WHEN 'sha256' THEN RETURN sha256(data);
    WHEN 'sha384' THEN RETURN sha384(data);
    WHEN 'sha512' THEN RETURN sha512(data);
    WHEN 'sha1' THEN
      RAISE EXCEPTION 'the embedded engine''s pgcrypto has no sha1'
        USING ERRCODE = 'feature_not_supported', HINT = 'docker has it: --engine docker';
    ELSE
      RAISE EXCEPTION 'Cannot use "%": No such hash algorithm', type USING ERRCODE = 'invalid_parameter_value';
  END CASE;
END $$;

CREATE FUNCTION digest(data text, type text) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN digest(convert_to(data, 'UTF8'), type);

-- RFC 2104, section 2: two digests, over the key with one byte repeated each time.
CREATE FUNCTION hmac(data bytea, key bytea, type text) RETURNS bytea
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
  block int := CASE WHEN lower(type) IN ('sha384', 'sha512') THEN 128 ELSE 64 END;
  padded bytea := CASE WHEN length(key) > block THEN digest(key, type) ELSE key END;
  inner_key bytea := decode(repeat('36', block), 'hex');
  outer_key bytea := decode(repeat('5c', block), 'hex');
BEGIN
  FOR i IN 0 .. length(padded) - 1 LOOP
    inner_key := set_byte(inner_key, i, get_byte(inner_key, i) # get_byte(padded, i));
    outer_key := set_byte(outer_key, i, get_byte(outer_key, i) # get_byte(padded, i));
  END LOOP;
  RETURN digest(outer_key || digest(inner_key || data, type), type);
END $$;

CREATE FUNCTION hmac(data text, key text, type text) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN hmac(convert_to(data, 'UTF8'), convert_to(key, 'UTF8'), type);

CREATE FUNCTION fips_mode() RETURNS boolean
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
  RETURN false;

-- The others, with their signatures: a schema that names them loads, and whoever calls one is told.
DO $do$
DECLARE
  signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY[
    'crypt(text, text) text',
    'gen_salt(text) text',
    'gen_salt(text, integer) text',
    'encrypt(bytea, bytea, text) bytea',
    'decrypt(bytea, bytea, text) bytea',
    'encrypt_iv(bytea, bytea, bytea, text) bytea',
    'decrypt_iv(bytea, bytea, bytea, text) bytea',
    'pgp_sym_encrypt(text, text) bytea',
    'pgp_sym_encrypt(text, text, text) bytea',
    'pgp_sym_encrypt_bytea(bytea, text) bytea',
    'pgp_sym_encrypt_bytea(bytea, text, text) bytea',
    'pgp_sym_decrypt(bytea, text) text',
    'pgp_sym_decrypt(bytea, text, text) text',
    'pgp_sym_decrypt_bytea(bytea, text) bytea',
    'pgp_sym_decrypt_bytea(bytea, text, text) bytea',
    'pgp_pub_encrypt(text, bytea) bytea',
    'pgp_pub_encrypt(text, bytea, text) bytea',
    'pgp_pub_encrypt_bytea(bytea, bytea) bytea',
    'pgp_pub_encrypt_bytea(bytea, bytea, text) bytea',
    'pgp_pub_decrypt(bytea, bytea) text',
    'pgp_pub_decrypt(bytea, bytea, text) text',
    'pgp_pub_decrypt(bytea, bytea, text, text) text',
    'pgp_pub_decrypt_bytea(bytea, bytea) bytea',
    'pgp_pub_decrypt_bytea(bytea, bytea, text) bytea',
    'pgp_pub_decrypt_bytea(bytea, bytea, text, text) bytea',
    'pgp_key_id(bytea) text',
    'armor(bytea) text',
    'armor(bytea, text[], text[]) text',
    'dearmor(text) bytea'
  ] LOOP
    EXECUTE format(
      $f$CREATE FUNCTION %s RETURNS %s LANGUAGE plpgsql STRICT AS $$ BEGIN
        RAISE EXCEPTION 'the embedded engine''s pgcrypto has no %s'
          USING ERRCODE = 'feature_not_supported', HINT = 'docker has it: --engine docker';
      END $$ $f$,
      regexp_replace(signature, ' \S+$', ''), regexp_replace(signature, '.* ', ''), regexp_replace(signature, '\(.*', '')
    );
  END LOOP;
END $do$;
