-- A small, realistic data set for a first look. Running it again adds only what is missing.
--
--   psql CONNINFO -v ON_ERROR_STOP=1 -1 -f schema/voice-assistant/demo.sql

SET client_min_messages = warning;
SET client_encoding = 'UTF8';

CREATE FUNCTION pg_temp.demo_id(name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT uuid_generate_v5(uuid_ns_url(), 'rowfs-demo/' || name)
$$;

-- Memories are of now: older ones would be cleaned up by memory_cleanup_run(), hourly with enable_auto_cleanup.
INSERT INTO users (id, hardware_id_hash, created_at, updated_at, metadata, short_term_memory,
                   long_term_memory)
SELECT pg_temp.demo_id('user/' || n), encode(sha256(convert_to('demo-' || n, 'UTF8')), 'hex'),
       at, at, metadata::jsonb, short, long
  FROM (VALUES
	(1, timestamptz '2025-09-15 07:58:11.204+00', '{"name": "Anna Schäfer", "city": "Köln", "os": "Debian 12", "volume": 0.8}',
	 E'Wants the kitchen lights at 40 %.\nAsked twice for the weather in Köln.\n', E'Prefers short answers.\nSpeaks German and English.\n'),
	(2, timestamptz '2025-09-15 09:12:40.771+00', '{"name": "Дмитрий Орлов", "city": "Казань", "os": "Windows 11", "volume": 0.55}',
	 E'Готовится к экзамену по физике.\n', E'Любит подробные объяснения.\n'),
	(3, timestamptz '2025-09-16 22:01:03.010+00', '{"name": "山田 花子", "city": "大阪", "os": "macOS 14", "beta": true}',
	 NULL, E'毎朝七時に天気を聞く。\n'),
	(4, timestamptz '2025-09-17 13:37:00.000+00', '{"name": "Zoë O''Brien", "city": "Cork", "os": "Debian 12", "tags": ["music", "🎧"]}',
	 E'Building a playlist called "Rain".\n', NULL),
	(5, timestamptz '2025-09-18 05:45:29.388+00', '{"name": "José Núñez", "city": "Cádiz"}', NULL, NULL)
  ) AS u (n, at, metadata, short, long)
ON CONFLICT DO NOTHING;

-- Sessions: user n has n % 3 + 1 of them; the last of each user is still active, one timed out.
INSERT INTO sessions (id, user_id, start_time, end_time, metadata, status, created_at, updated_at)
SELECT pg_temp.demo_id(format('session/%s/%s', n, s)), pg_temp.demo_id('user/' || n), start_time,
       CASE WHEN status = 'ended' THEN start_time + make_interval(mins => 7 * n + 11 * s) END,
       jsonb_build_object('client', '2.4.' || s, 'microphone', (ARRAY['built-in', 'USB', 'headset'])[1 + (n + s) % 3]),
       status, start_time, start_time
  FROM generate_series(1, 5) AS n, generate_series(1, n % 3 + 1) AS s,
       LATERAL (SELECT timestamptz '2025-09-19 08:00+00' + make_interval(days => s, mins => 13 * n),
                       CASE WHEN s = n % 3 + 1 THEN 'active' WHEN n = 5 THEN 'timeout' ELSE 'ended' END
               ) AS t (start_time, status)
 WHERE EXISTS (SELECT FROM users WHERE id = pg_temp.demo_id('user/' || n))
ON CONFLICT DO NOTHING;

CREATE TEMPORARY TABLE demo_phrase (n integer, language text, prompt text, response text) ON COMMIT DROP;
INSERT INTO demo_phrase VALUES
	(0, 'en', 'Turn the kitchen lights to 40 %.', 'Done: the kitchen lights are at 40 %.'),
	(1, 'de', 'Wie wird das Wetter in Köln?', 'Morgen 18 °C, am Nachmittag Schauer.'),
	(2, 'ru', 'Объясни закон Ома.', 'Сила тока равна напряжению, делённому на сопротивление: I = U / R.'),
	(3, 'ja', '七時に起こして。', '七時にアラームを設定しました。'),
	(4, 'en', E'Write a haiku about "rain",\nplease.', E'Rain on the window—\nthe kettle answers softly,\ntwo kinds of water.'),
	(5, 'es', '¿Qué hora es en Cádiz?', 'Son las nueve y cuarto.');

INSERT INTO commands (id, session_id, prompt, language, metadata, created_at)
SELECT pg_temp.demo_id(format('command/%s/%s', s.id, c)), s.id, p.prompt, p.language,
       jsonb_build_object('confidence', round(0.7 + 0.05 * (c % 6), 2)), s.start_time + make_interval(secs => 40 * c)
  FROM sessions s JOIN users u ON u.id = s.user_id, generate_series(1, 4) AS c, demo_phrase p
 WHERE s.metadata ? 'microphone' AND s.id = ANY (ARRAY(
	SELECT pg_temp.demo_id(format('session/%s/%s', n, k)) FROM generate_series(1, 5) n, generate_series(1, 3) k))
   AND p.n = (extract(minute FROM s.start_time)::integer + c) % 6
ON CONFLICT DO NOTHING;

-- The fourth command of each session has no answer; the first has two.
INSERT INTO llm_answers (id, command_id, prompt, response, model_info, performance_metrics, created_at)
SELECT pg_temp.demo_id(format('answer/%s/%s', c.id, a)), c.id, c.prompt,
       CASE a WHEN 2 THEN 'Once more: ' ELSE '' END || p.response,
       jsonb_build_object('model', 'demo-8b', 'temperature', 0.2),
       jsonb_build_object('tokens', length(p.response), 'latency_ms', 180 + 35 * k + 20 * a),
       c.created_at + make_interval(secs => a)
  FROM generate_series(1, 5) AS n, generate_series(1, 3) AS s, generate_series(1, 3) AS k, generate_series(1, 2) AS a,
       LATERAL (SELECT * FROM commands WHERE id = pg_temp.demo_id(format('command/%s/%s',
                pg_temp.demo_id(format('session/%s/%s', n, s)), k))) AS c
  JOIN demo_phrase p ON p.prompt = c.prompt
 WHERE a = 1 OR k = 1
ON CONFLICT DO NOTHING;

INSERT INTO screenshots (id, session_id, file_path, file_url, metadata, created_at)
SELECT pg_temp.demo_id(format('screenshot/%s', s.id)), s.id, format('/var/lib/assistant/shots/%s.png', left(s.id::text, 8)),
       NULL, '{"width": 1920, "height": 1080}', s.start_time + interval '90 seconds'
  FROM sessions s
 WHERE s.id = ANY (ARRAY(SELECT pg_temp.demo_id(format('session/%s/%s', n, k)) FROM generate_series(1, 5) n, generate_series(1, 2) k))
ON CONFLICT DO NOTHING;

INSERT INTO performance_metrics (id, session_id, metric_type, metric_value, created_at)
SELECT pg_temp.demo_id(format('metric/%s/%s', s.id, m.type)), s.id, m.type, m.value::jsonb, s.start_time + interval '2 minutes'
  FROM sessions s, (VALUES ('cpu', '{"percent": 12.5, "cores": 8}'), ('memory', '{"mib": 412}')) AS m (type, value)
 WHERE s.id = ANY (ARRAY(SELECT pg_temp.demo_id(format('session/%s/%s', n, k)) FROM generate_series(1, 5) n, generate_series(1, 3) k))
ON CONFLICT DO NOTHING;
