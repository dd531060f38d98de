/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: BODY=BINARYMIME that goes into a mailbox (RFC 3030 3). */
#include "tests/unit/smtp/server_bed.h"
#include "dataplane/base/codec.h"

#define BINARY_MAX (1u << 20)

#define HEAD                                                                                       \
	"Subject: two parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; "               \
	"boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Type: "             \
	"text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n--b\r\n"       \
	"Content-Type: application/octet-stream\r\n"
#define TEXT_PART "8bit\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n--b\r\n"
#define TAIL      "\r\n--b--\r\n"

static uint8_t message[BINARY_MAX + 1024];
static size_t message_n;

/* The binary part has every octet, CR and LF alone and NUL among them. */
static struct bytes message_make(const char *marked, size_t octets)
{
	struct buf b;
	uint64_t seed = 77;

	buf_init(&b, message, sizeof(message));
	buf_str(&b, HEAD);
	buf_printf(&b, "%s\r\n", marked);
	for (size_t i = 0; i < octets; i++)
		buf_byte(&b,
			i % 5 ? (uint8_t)unit_random(&seed) : (uint8_t)("\r\n\0.\r"[i / 5 % 5]));
	buf_str(&b, TAIL);
	message_n = b.n;
	return buf_view(&b);
}

#define MARKED "Content-Transfer-Encoding: binary\r\n"

static struct bytes binary_part(size_t octets)
{
	return bytes_make(message + message_n - strlen(TAIL) - octets, octets);
}

static void chunk_command(unsigned i, size_t n, bool last)
{
	char line[64];
	int k = snprintf(line, sizeof(line), "BDAT %zu%s\r\n", n, last ? " LAST" : "");

	say(i, bytes_make(line, (size_t)k));
}

static void begin_binary(void)
{
	bed_open(4, (struct smtp_server_conf){0});
	greet(0);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net> BODY=BINARYMIME\r\n"
			 "RCPT TO:<alice@local.example.org>\r\n"));
	assert_non_null(strstr(heard(0), "250 2.1.5"));
}

/* Lines without NUL, and in base64 what was sent. */
static void stored_is(size_t octets)
{
	static uint8_t decoded[BINARY_MAX + 8], text[BODY_MAX];
	static const char begins[] = "octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
	struct stored *st = &bed.store[0];
	struct buf squeezed, out;

	assert_true(st->accepted);
	for (size_t i = 0; i < st->body_n; i++) {
		assert_int_not_equal(st->body[i], 0);
		if (st->body[i] == '\r')
			assert_int_equal(st->body[i + 1], '\n');
		if (st->body[i] == '\n')
			assert_int_equal(st->body[i - 1], '\r');
	}
	assert_non_null(memmem(st->body, st->body_n, TEXT_PART, strlen(TEXT_PART)));
	uint8_t *part = memmem(st->body, st->body_n, begins, strlen(begins));
	assert_non_null(part);
	part += strlen(begins);
	uint8_t *end = memmem(part, st->body_n - (size_t)(part - st->body), TAIL, strlen(TAIL));
	assert_non_null(end);
	buf_init(&squeezed, text, sizeof(text));
	for (; part < end; part++) {
		if (*part != '\r' && *part != '\n')
			buf_byte(&squeezed, *part);
	}
	buf_init(&out, decoded, sizeof(decoded));
	assert_int_equal(base64_decode(&out, buf_view(&squeezed)), 0);
	assert_true(bytes_eq(buf_view(&out), binary_part(octets)));
}

static void test_every_split(void **state)
{
	struct bytes whole = message_make(MARKED, 200);

	(void)state;
	for (size_t cut = 0; cut < whole.n; cut++) {
		begin_binary();
		chunk_command(0, cut, false);
		say(0, bytes_first(whole, cut));
		assert_non_null(strstr(heard(0), "250 2.0.0"));
		chunk_command(0, whole.n - cut, true);
		say(0, bytes_skip(whole, cut));
		settle(0);
		assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
		stored_is(200);
		bed_close();
	}
}

static void test_octet_by_octet(void **state)
{
	struct bytes whole = message_make(MARKED, 3000);

	(void)state;
	begin_binary();
	chunk_command(0, whole.n, true);
	for (size_t i = 0; i < whole.n; i++)
		say(0, bytes_make(whole.p + i, 1));
	settle(0);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	stored_is(3000);
	bed_close();
}

/* It grows while it goes to the writer in parts. */
static void test_large_content_streams(void **state)
{
	struct bytes whole = message_make(MARKED, BINARY_MAX);

	(void)state;
	begin_binary();
	chunk_command(0, whole.n, true);
	say(0, whole);
	for (unsigned i = 0; i < 2000 && !bed.peer[0].out_n; i++)
		settle(0);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_true(bed.store[0].chunks > 0);
	stored_is(BINARY_MAX);
	bed_close();
}

static void test_what_is_not_marked_is_refused(void **state)
{
	struct bytes whole = message_make("", 200);

	(void)state;
	begin_binary();
	chunk_command(0, whole.n, true);
	say(0, whole);
	settle(0);
	assert_memory_equal(heard(0), "554 5.6.1", 9);
	assert_int_equal(bed.store_n, 0);
	bed_close();
}

static void test_the_transaction_ends_early(void **state)
{
	struct bytes whole = message_make(MARKED, 3000);

	(void)state;
	begin_binary();
	chunk_command(0, 2000, false);
	say(0, bytes_first(whole, 2000));
	say(0, BYTES_LIT("RSET\r\n"));
	assert_non_null(strstr(heard(0), "250 2.0.0"));
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\nRCPT "
			 "TO:<alice@local.example.org>\r\n"));
	heard(0);
	say(0, BYTES_LIT("BDAT 20 LAST\r\nSubject: x\r\n\r\nbody\r\n"));
	settle(0);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_true(bytes_eq(bytes_make(bed.store[0].body, bed.store[0].body_n),
		BYTES_LIT("Subject: x\r\n\r\nbody\r\n")));
	bed_close();
}

static void test_many_bodies_without_memory(void **state)
{
	struct bytes whole = message_make(MARKED, 300000);

	(void)state;
	begin_binary();
	bed.server->peer_chunks_max = 16;
	chunk_command(0, whole.n, true);
	say(0, whole);
	for (unsigned i = 0; i < 2000 && !bed.peer[0].out_n; i++)
		settle(0);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	stored_is(300000);
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_octet_by_octet),
		cmocka_unit_test(test_large_content_streams),
		cmocka_unit_test(test_what_is_not_marked_is_refused),
		cmocka_unit_test(test_the_transaction_ends_early),
		cmocka_unit_test(test_many_bodies_without_memory),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
