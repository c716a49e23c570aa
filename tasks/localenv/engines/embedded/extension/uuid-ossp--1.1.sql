-- The functions of uuid-ossp for a server that lacks the module. Signatures: PostgreSQL docs, "uuid-ossp".
-- Values: RFC 9562, sections 5.1 (version 1), 5.3 (3), 5.4 (4), 5.5 (5) and 6.6 (namespaces).
\echo Use "CREATE EXTENSION "uuid-ossp"" to load this file. \quit

CREATE FUNCTION uuid_nil() RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '00000000-0000-0000-0000-000000000000'::uuid;

CREATE FUNCTION uuid_ns_dns() RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_url() RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_oid() RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_ns_x500() RETURNS uuid
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid;

CREATE FUNCTION uuid_generate_v4() RETURNS uuid
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
  RETURN gen_random_uuid();

-- 60 bits of 100 ns steps since 1582-10-15; clock sequence and node random, the node marked as such (multicast bit).
CREATE FUNCTION uuid_generate_v1mc() RETURNS uuid
  LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
AS $$
DECLARE
  steps bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 10 + 122192928000000000;
  t text := lpad(to_hex(steps), 16, '0');
  r text := replace(gen_random_uuid()::text, '-', '');
  node1 text := lpad(to_hex(('x' || substr(r, 1, 2))::bit(8)::int | 1), 2, '0');
BEGIN
  RETURN (substr(t, 9, 8) || '-' || substr(t, 5, 4) || '-1' || substr(t, 2, 3) || '-'
          || substr(r, 17, 4) || '-' || node1 || substr(r, 3, 10))::uuid;
END $$;

CREATE FUNCTION uuid_generate_v1() RETURNS uuid
  LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
  RETURN uuid_generate_v1mc();

CREATE FUNCTION uuid_generate_v3(namespace uuid, name text) RETURNS uuid
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
  h text := md5(decode(replace(namespace::text, '-', ''), 'hex') || convert_to(name, 'UTF8'));
BEGIN
  RETURN (substr(h, 1, 12) || '3' || substr(h, 14, 3)
          || to_hex(('x' || substr(h, 17, 1))::bit(4)::int & 3 | 8) || substr(h, 18))::uuid;
END $$;

-- SHA-1 by FIPS 180-4, section 6.1; the server itself has SHA-2 and MD5 only. A word is a bigint below 2^32.
-- All operators but the arithmetic ones have one precedence in PostgreSQL, hence the parentheses.
CREATE FUNCTION uuid_generate_v5(namespace uuid, name text) RETURNS uuid
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
  mask CONSTANT bigint := 4294967295;
  message bytea := decode(replace(namespace::text, '-', ''), 'hex') || convert_to(name, 'UTF8');
  bits bigint := length(message) * 8;
  state bigint[] := ARRAY[1732584193, 4023233417, 2562383102, 271733878, 3285377520];
  w bigint[];
  a bigint; b bigint; c bigint; d bigint; e bigint; f bigint; k bigint; x bigint;
  h text := '';
BEGIN
  message := message || '\x80'::bytea;
  message := message || decode(repeat('00', (56 - length(message) % 64 + 64) % 64), 'hex') || int8send(bits);
  FOR block IN 0 .. length(message) / 64 - 1 LOOP
    w := ARRAY[]::bigint[];
    FOR i IN 0 .. 15 LOOP
      w[i] := ('x' || encode(substr(message, block * 64 + i * 4 + 1, 4), 'hex'))::bit(32)::bigint;
    END LOOP;
    FOR i IN 16 .. 79 LOOP
      x := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
      w[i] := ((x << 1) | (x >> 31)) & mask;
    END LOOP;
    a := state[1]; b := state[2]; c := state[3]; d := state[4]; e := state[5];
    FOR i IN 0 .. 79 LOOP
      IF i < 20 THEN f := (b & c) | ((b # mask) & d); k := 1518500249;
      ELSIF i < 40 THEN f := b # c # d; k := 1859775393;
      ELSIF i < 60 THEN f := (b & c) | (b & d) | (c & d); k := 2400959708;
      ELSE f := b # c # d; k := 3395469782;
      END IF;
      x := (((a << 5) | (a >> 27)) & mask) + f + e + k + w[i] & mask;
      e := d; d := c; c := ((b << 30) | (b >> 2)) & mask; b := a; a := x;
    END LOOP;
    state := ARRAY[state[1] + a & mask, state[2] + b & mask, state[3] + c & mask, state[4] + d & mask,
                   state[5] + e & mask];
  END LOOP;
  FOR i IN 1 .. 4 LOOP
    h := h || lpad(to_hex(state[i]), 8, '0');
  END LOOP;
  RETURN (substr(h, 1, 12) || '5' || substr(h, 14, 3)
          || to_hex(('x' || substr(h, 17, 1))::bit(4)::int & 3 | 8) || substr(h, 18))::uuid;
END $$;
