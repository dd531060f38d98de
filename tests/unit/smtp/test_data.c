/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/data: the content of DATA, decoded and encoded, at every split. */
#include "tests/unit/smtp/unit.h"
#include <errno.h>
#include "dataplane/base/crc32c.h"
#include "smtp/data.h"
#include "smtp/data_scan.h"

#define OUT_MAX 4096

struct result {
	struct data_decoder d;
	bool end;
	size_t used;
	uint8_t out[OUT_MAX];
	size_t out_n;
};

static void sink(void *ctx, struct bytes run)
{
	struct result *r = ctx;

	assert_true(run.n > 0 && r->out_n + run.n <= OUT_MAX);
	memcpy(r->out + r->out_n, run.p, run.n);
	r->out_n += run.n;
}

/* Decode in pieces that end at the cuts. */
static void decode(struct result *r, struct bytes in, const size_t *cuts, unsigned n)
{
	r->end = false;
	r->used = r->out_n = 0;
	data_decoder_init(&r->d, DATA_DOTTED, 2000, 2);
	for (unsigned i = 0; i <= n && !r->end; i++) {
		size_t to = i < n ? MIN(cuts[i], in.n) : in.n;
		size_t used;
		if (to <= r->used)
			continue;
		uint8_t *copy = malloc(to - r->used);
		memcpy(copy, in.p + r->used, to - r->used);
		r->end = data_decode(&r->d, bytes_make(copy, to - r->used), sink, r, &used) ==
			 DATA_END;
		free(copy);
		r->used += used;
		assert_true(r->end || r->used == to);
	}
}

/* The definition, octet by octet: find CRLF.CRLF (the CRLF before the content counts), then remove
 * dots and look for faults. */
static bool model(struct bytes in, uint8_t *out, size_t *out_n, size_t *used, unsigned *faults)
{
	size_t end = 0;
	bool line = true;

	*out_n = 0;
	*faults = 0;
	for (;; end++) {
		if (end + 3 > in.n)
			return false;
		line = end == 0 || (end >= 2 && in.p[end - 1] == '\n' && in.p[end - 2] == '\r');
		if (line && memcmp(in.p + end, ".\r\n", 3) == 0)
			break;
	}
	*used = end + 3;
	for (size_t i = 0; i < end; i++) {
		uint8_t c = in.p[i];
		line = i == 0 || (i >= 2 && in.p[i - 1] == '\n' && in.p[i - 2] == '\r');
		if (line && c == '.')
			continue;
		if (c == '\n' && (i == 0 || in.p[i - 1] != '\r'))
			*faults |= DATA_BARE_LF;
		if (c == '\r' && (i + 1 >= end || in.p[i + 1] != '\n'))
			*faults |= DATA_BARE_CR;
		if (c == 0)
			*faults |= DATA_NUL;
		out[(*out_n)++] = c;
	}
	return true;
}

/* Against the model: random strings over the octets that matter, whole, at every split, byte by
 * byte. */
static void test_equals_the_definition_at_every_split(void **state)
{
	static const struct bytes tokens[] = {BYTES_LIT("\r\n"), BYTES_LIT("\r\n"),
		BYTES_LIT("\r\n."), BYTES_LIT("\r\n.\r\n"), BYTES_LIT("."), BYTES_LIT("x"),
		BYTES_LIT("ab"), BYTES_LIT("\r"), BYTES_LIT("\n"), BYTES_LIT("\0")};
	uint64_t seed = 0x5eed;
	size_t ends = 0, clean = 0;

	(void)state;
	for (unsigned round = 0; round < 30000; round++) {
		uint8_t in[40], want[40], singles_n = 0;
		size_t n = unit_random(&seed) % sizeof(in), want_n, used, singles[40];
		unsigned faults;
		struct result r;

		/* Every second string is made of what occurs in clean content only. */
		unsigned kinds = round & 1 ? 7 : ARRAY_LEN(tokens);
		for (size_t i = 0; i < n;) {
			struct bytes t = tokens[unit_random(&seed) % kinds];
			t = bytes_first(t, n - i);
			memcpy(in + i, t.p, t.n);
			i += t.n;
		}
		bool end = model(bytes_make(in, n), want, &want_n, &used, &faults);
		ends += end;
		for (size_t i = 1; i < n; i++)
			singles[singles_n++] = i;
		for (size_t cut = 0; cut <= n + 1; cut++) {
			bool single = cut == n + 1;
			decode(&r, bytes_make(in, n), single ? singles : &cut,
				single ? singles_n : 1);
			assert_int_equal(r.end, end);
			if (!end)
				continue;
			assert_int_equal(r.used, used);
			assert_int_equal(r.d.faults, faults);
			if (faults)
				continue;
			clean++;
			assert_bytes_equal(bytes_make(r.out, r.out_n), bytes_make(want, want_n));
			assert_int_equal(r.d.crc, crc32c(0, want, want_n));
			assert_int_equal(r.d.size, want_n);
		}
	}
	assert_true(ends > 1000 && clean > 1000);
}

/* Octets stand for themselves; faults and the header's end are as in DATA. */
static void test_chunked_keeps_every_octet_at_every_split(void **state)
{
	static const struct {
		struct bytes in;
		unsigned faults;
		uint64_t header_bytes;
	} cases[] = {
		{BYTES_LIT("a: b\r\n\r\n.\r\n..x"),                          0,                           8 },
		{BYTES_LIT("a: b\r\n.\r\nQUIT\r\n"),                         0,                           15},
		{BYTES_LIT("a\r"),					   DATA_BARE_CR,                2 },
		{BYTES_LIT("a\rb"),					  DATA_BARE_CR,                3 },
		{BYTES_LIT(".\r.\n"),					DATA_BARE_CR | DATA_BARE_LF, 4 },
		{BYTES_LIT("a\0"),					   DATA_NUL,                    2 },
		{BYTES_LIT("received: 1\r\nReceived: 2\r\nReceived: 3\r\n"), DATA_LOOP,                   39},
		{BYTES_NONE,						 0,                           0 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes in = cases[i].in;
		for (size_t cut = 0; cut <= in.n; cut++) {
			struct result r = {0};
			data_decoder_init(&r.d, DATA_CHUNKED, 2000, 2);
			data_decode(&r.d, bytes_first(in, cut), sink, &r, &r.used);
			data_decode(&r.d, bytes_skip(in, cut), sink, &r, &r.used);
			data_decoder_end(&r.d);
			assert_int_equal(r.d.faults, cases[i].faults);
			if (r.d.faults)
				continue;
			assert_int_equal(r.d.header_bytes, cases[i].header_bytes);
			assert_int_equal(r.d.size, in.n);
			assert_int_equal(r.out_n, in.n);
			if (in.n)
				assert_memory_equal(r.out, in.p, in.n);
		}
	}
}

static void test_header_end_and_received(void **state)
{
	static const struct {
		const char *in;
		size_t header;
		unsigned received, faults;
	} cases[] = {
		{"A: b\r\n\r\nbody\r\n.\r\n",					       8,  0, 0        },
		{"A: b\r\nbody\r\n.\r\n",						   12, 0, 0        },
		{"\r\nReceived: x\r\n.\r\n",						2,  0, 0        },
		{".\r\n",								   0,  0, 0        },
		{"Received: a\r\nreceived:b\r\n\r\n.\r\n",                                  27, 2, 0        },
		{"Received : a\r\nReceive: a\r\nXReceived: b\r\n received: c\r\n\r\n.\r\n", 56, 0,
                 0											  },
		{"Received:\r\nRECEIVED:\r\nReceived:\r\n\r\n.\r\n",                        0,  3, DATA_LOOP},
		{"..Received:\r\n\r\n.\r\n",						14, 0, 0        },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct bytes in = bytes_str(cases[i].in);
		for (size_t cut = 0; cut <= in.n; cut++) {
			struct result r;
			decode(&r, in, &cut, 1);
			assert_true(r.end);
			assert_int_equal(r.d.received, cases[i].received);
			assert_int_equal(r.d.faults, cases[i].faults);
			if (!cases[i].faults)
				assert_int_equal(r.d.header_bytes, cases[i].header);
		}
	}
}

static void test_size_limit_cuts_while_streaming(void **state)
{
	uint8_t in[3000];
	struct result r;

	(void)state;
	memset(in, 'x', sizeof(in));
	for (size_t i = 98; i < sizeof(in); i += 100)
		memcpy(in + i, "\r\n", 2);
	const size_t cuts[] = {500, 1000, 1500, 2000, 2500};
	decode(&r, bytes_make(in, sizeof(in)), cuts, ARRAY_LEN(cuts));
	assert_false(r.end);
	assert_int_equal(r.d.faults, DATA_TOO_BIG);
	assert_int_equal(r.out_n, 2000);
	size_t used;
	assert_int_equal(data_decode(&r.d, BYTES_LIT(".\r\nQUIT"), sink, &r, &used), DATA_END);
	assert_int_equal(used, 3);
	decode(&r, bytes_make(in, 2000), NULL, 0);
	assert_int_equal(r.d.faults, 0);
}

static void test_scan_equals_its_scalar_twin(void **state)
{
	uint64_t seed = 7;
	uint8_t in[100];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		size_t n = unit_random(&seed) % sizeof(in), from = unit_random(&seed) % 17;
		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)(unit_random(&seed) % 16 +
					  (unit_random(&seed) % 5 ? 14 : 0));
		from = MIN(from, n);
		assert_ptr_equal(data_scan(in + from, in + n), data_scan_scalar(in + from, in + n));
	}
}

/* Blocks of mail with a few octets that need a look, at every start and every length. */
static void test_skip_equals_its_scalar_twin(void **state)
{
	static const uint8_t odd[] = {'r', 'R', '\r', '\n', '\0', '.', 0x8d, 0x8a, 0x80, 'x'};
	uint8_t in[5 * DATA_BLOCK];
	uint64_t seed = 11;
	size_t moved = 0, stopped = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned line = 2 + (unsigned)(unit_random(&seed) % 100);
		for (size_t i = 0; i < sizeof(in); i++)
			in[i] = i % line == line - 2 ? '\r' : i % line == line - 1 ? '\n' : 'a';
		for (uint64_t n = unit_random(&seed) % 4; n; n--)
			in[unit_random(&seed) % sizeof(in)] = odd[unit_random(&seed) % sizeof(odd)];
		size_t from = 1 + unit_random(&seed) % (2 * DATA_BLOCK);
		size_t to = from + unit_random(&seed) % (sizeof(in) - from + 1);
		enum data_look look = (enum data_look)(round % DATA_LOOK_N);
		const uint8_t *at = data_skip(in + from, in + to, look);
		assert_ptr_equal(at, data_skip_scalar(in + from, in + to, look));
		moved += at > in + from;
		stopped += to - from >= DATA_BLOCK && at + DATA_BLOCK <= in + to;
	}
	assert_true(moved > 1000 && stopped > 1000);
}

/* What is looked at block by block is what is looked at octet by octet: ends, dots and faults at
 * every place of a block, in content of several blocks behind a header. */
static void test_blocks_equal_the_definition(void **state)
{
	static const struct bytes marks[] = {BYTES_LIT("\r\n.\r\n"), BYTES_LIT("\r\n..\r\n"),
		BYTES_LIT("\r\n.x"), BYTES_LIT("\n.\r\n"), BYTES_LIT("\r.\r\n"),
		BYTES_LIT("\r\n.\n"), BYTES_LIT("\r\n.\r."), BYTES_LIT("\r\r\n"), BYTES_LIT("\0"),
		BYTES_LIT("\r\n\0.\r\n"), BYTES_LIT("\r"), BYTES_LIT("\n"), BYTES_LIT("\r\n")};
	uint64_t seed = 13;

	(void)state;
	for (unsigned m = 0; m < ARRAY_LEN(marks); m++) {
		for (size_t at = 0; at < 3 * DATA_BLOCK; at++) {
			uint8_t in[6 * DATA_BLOCK], want[sizeof(in)];
			size_t want_n, used;
			unsigned faults;
			struct result r;

			memset(in, 'a', sizeof(in));
			memcpy(in, "h: x\r\n\r\n", 8);
			memcpy(in + 8 + at, marks[m].p, marks[m].n);
			memcpy(in + sizeof(in) - 5, "\r\n.\r\n", 5);
			assert_true(
				model(bytes_make(in, sizeof(in)), want, &want_n, &used, &faults));
			size_t cuts[] = {0, 8 + unit_random(&seed) % 200};
			for (unsigned cut = 0; cut < ARRAY_LEN(cuts); cut++) {
				decode(&r, bytes_make(in, sizeof(in)), &cuts[cut], 1);
				assert_true(r.end);
				assert_int_equal(r.used, used);
				assert_int_equal(r.d.faults, faults);
				if (!faults)
					assert_bytes_equal(bytes_make(r.out, r.out_n),
						bytes_make(want, want_n));
			}
		}
	}
}

/* Encode at a split, then decode: the same octets again. */
static void test_round_trip(void **state)
{
	static const char *const lines[] = {
		"\r\n", ".\r\n", "..\r\n", ".x\r\n", "abc\r\n", "a.\r\n"};
	uint64_t seed = 99;

	(void)state;
	for (unsigned round = 0; round < 5000; round++) {
		uint8_t body_memory[200], wire_memory[400];
		struct data_encoder e = {0};
		struct buf body, wire;
		struct result r;

		buf_init(&body, body_memory, sizeof(body_memory));
		buf_init(&wire, wire_memory, sizeof(wire_memory));
		for (uint64_t n = unit_random(&seed) % 20; n; n--)
			buf_str(&body, lines[unit_random(&seed) % ARRAY_LEN(lines)]);
		struct bytes rest = buf_view(&body);
		while (rest.n) {
			size_t n = MIN(rest.n, 1 + unit_random(&seed) % 9), before = wire.n;
			assert_int_equal(data_encode(&e, bytes_first(rest, n), &wire), 0);
			assert_true(wire.n - before <= DATA_ENCODED_MAX(n));
			rest = bytes_skip(rest, n);
		}
		assert_int_equal(data_encode_end(&e, &wire), 0);
		decode(&r, buf_view(&wire), NULL, 0);
		assert_true(r.end && r.used == wire.n && r.d.faults == 0);
		assert_bytes_equal(bytes_make(r.out, r.out_n), buf_view(&body));
	}
}

/* The definition: dots at the start of lines doubled; what is alone is refused. */
static int encode_slowly(struct bytes in, struct buf *out)
{
	uint8_t before = '\n';

	for (size_t i = 0; i < in.n; before = in.p[i++]) {
		bool first = before == '\n';
		if ((in.p[i] == '\n') != (before == '\r'))
			return -EINVAL;
		if (first && in.p[i] == '.')
			buf_byte(out, '.');
		buf_byte(out, in.p[i]);
	}
	return 0;
}

static int encode_pieces(struct bytes in, size_t piece, struct buf *out)
{
	struct data_encoder e = {0};
	int err = 0;

	for (; in.n && !err; in = bytes_skip(in, MIN(in.n, piece)))
		err = data_encode(&e, bytes_first(in, MIN(in.n, piece)), out);
	return err;
}

/* Long enough for the blocks that are passed at once, with something in them here and there. */
static void random_lines(struct buf *out, uint64_t *seed)
{
	static const char *const odd[] = {".", "\r", "\n", "\r\n", "\r\n.", "\r\n..", "a\r\n.\r\n"};
	unsigned evil = unit_random(seed) % 4 == 0;

	for (uint64_t n = unit_random(seed) % 8; n; n--) {
		for (uint64_t k = unit_random(seed) % 150; k; k--)
			buf_byte(out, (uint8_t)(unit_random(seed) % 64 ? 'a' + k % 26 : '.'));
		buf_str(out, odd[evil ? unit_random(seed) % 7 : 3 + unit_random(seed) % 4]);
	}
}

static void test_encoder_equals_the_definition(void **state)
{
	uint64_t seed = 17;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		uint8_t in_memory[1300], want_memory[2600], got_memory[2600];
		struct buf in, want, got;

		buf_init(&in, in_memory, sizeof(in_memory));
		random_lines(&in, &seed);
		buf_init(&want, want_memory, sizeof(want_memory));
		int err = encode_slowly(buf_view(&in), &want);
		size_t pieces[] = {in.n + 1, 1, 1 + unit_random(&seed) % 200, 64, 65};
		for (unsigned i = 0; i < ARRAY_LEN(pieces); i++) {
			buf_init(&got, got_memory, sizeof(got_memory));
			assert_int_equal(encode_pieces(buf_view(&in), pieces[i], &got), err);
			if (!err)
				assert_bytes_equal(buf_view(&got), buf_view(&want));
		}
		for (size_t cut = 0; cut <= in.n && round < 200; cut++) {
			struct data_encoder e = {0};
			buf_init(&got, got_memory, sizeof(got_memory));
			int now = data_encode(&e, bytes_first(buf_view(&in), cut), &got);
			if (!now)
				now = data_encode(&e, bytes_skip(buf_view(&in), cut), &got);
			assert_int_equal(now, err);
			if (!err)
				assert_bytes_equal(buf_view(&got), buf_view(&want));
		}
	}
}

static void test_last_line_without_crlf_gets_one(void **state)
{
	uint8_t memory[64];
	struct data_encoder e = {0};
	struct buf out;

	(void)state;
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(data_encode(&e, BYTES_LIT("a\r\n.b"), &out), 0);
	assert_int_equal(data_encode_end(&e, &out), 0);
	assert_bytes_equal(buf_view(&out), BYTES_LIT("a\r\n..b\r\n.\r\n"));
}

/* Case 2: nothing that another server could take for the end of data ever leaves. */
static void test_case_02_no_bare_cr_or_lf_leaves(void **state)
{
	static const char *const bad[] = {"a\n.\nb", "a\r.\rb", "\nx", "a\r\n\n", "\r\r\n", "a\rb",
		"a\r\n.\rx\r\n", "x\r\r\n.\r\r\n", "a\n"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct bytes in = bytes_str(bad[i]);
		for (size_t cut = 0; cut <= in.n; cut++) {
			uint8_t memory[64];
			struct data_encoder e = {0};
			struct buf out;
			buf_init(&out, memory, sizeof(memory));
			int err = data_encode(&e, bytes_first(in, cut), &out);
			if (err == 0)
				err = data_encode(&e, bytes_skip(in, cut), &out);
			assert_int_equal(err, -EINVAL);
		}
	}
	struct data_encoder e = {0};
	uint8_t memory[64];
	struct buf out;
	buf_init(&out, memory, sizeof(memory));
	assert_int_equal(data_encode(&e, BYTES_LIT("a\r"), &out), 0);
	assert_int_equal(data_encode_end(&e, &out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equals_the_definition_at_every_split),
		cmocka_unit_test(test_chunked_keeps_every_octet_at_every_split),
		cmocka_unit_test(test_header_end_and_received),
		cmocka_unit_test(test_size_limit_cuts_while_streaming),
		cmocka_unit_test(test_scan_equals_its_scalar_twin),
		cmocka_unit_test(test_skip_equals_its_scalar_twin),
		cmocka_unit_test(test_blocks_equal_the_definition),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_encoder_equals_the_definition),
		cmocka_unit_test(test_last_line_without_crlf_gets_one),
		cmocka_unit_test(test_case_02_no_bare_cr_or_lf_leaves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
