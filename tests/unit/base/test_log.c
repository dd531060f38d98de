/* SPDX-License-Identifier: BSD-3-Clause
 * Log rings and escaping.  The test's thread has no ring; a second thread has. */
#include "tests/unit/base/unit.h"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include "dataplane/base/log.h"

static char text[1 << 20];

/* What was written to the log since fds[] was made. */
static const char *read_pipe(int fd)
{
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(text) - 1 && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	return text;
}

static void open_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
	log_set_fd(fds[1]);
}

static void close_pipe(int fds[2])
{
	log_set_fd(STDERR_FILENO);
	close(fds[0]);
	close(fds[1]);
}

static void test_a_line_is_written_whole(void **state)
{
	int fds[2];

	(void)state;
	open_pipe(fds);
	log_info("smtp", "accepted id=%d", 7);
	log_debug("smtp", "not shown");
	const char *line = read_pipe(fds[0]);
	assert_non_null(strstr(line, "Z INFO  smtp: accepted id=7\n"));
	assert_int_equal(strspn(line, "0123456789-T:."), strlen("2026-01-01T00:00:00.000"));
	assert_true(line[10] == 'T' && line[19] == '.' && line[23] == 'Z');
	assert_null(strstr(line, "not shown"));
	close_pipe(fds);
}

static void test_a_long_line_is_cut(void **state)
{
	char big[3 * LOG_LINE_MAX];
	int fds[2];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	open_pipe(fds);
	log_info("smtp", "%s", big);
	const char *line = read_pipe(fds[0]);
	assert_true(strlen(line) < LOG_LINE_MAX);
	assert_int_equal(line[strlen(line) - 1], '\n');
	close_pipe(fds);
}

static void test_a_text_is_a_line_and_cut_like_one(void **state)
{
	char big[3 * LOG_LINE_MAX], formatted[LOG_LINE_MAX + 1];
	int fds[2];

	(void)state;
	memset(big, 'x', sizeof(big));
	open_pipe(fds);
	log_text(LOG_INFO, "smtp", BYTES_LIT("accepted id=7"));
	log_text(LOG_DEBUG, "smtp", BYTES_LIT("not shown"));
	const char *line = read_pipe(fds[0]);
	assert_non_null(strstr(line, "Z INFO  smtp: accepted id=7\n"));
	assert_null(strstr(line, "not shown"));
	close_pipe(fds);
	open_pipe(fds);
	log_info("smtp", "%.*s", (int)sizeof(big), big);
	snprintf(formatted, sizeof(formatted), "%.*s", LOG_LINE_MAX, read_pipe(fds[0]));
	close_pipe(fds);
	open_pipe(fds);
	log_text(LOG_INFO, "smtp", bytes_make(big, sizeof(big)));
	line = read_pipe(fds[0]);
	assert_string_equal(strchr(line, 'Z'), strchr(formatted, 'Z'));
	close_pipe(fds);
}

#define FLOOD_LINES 40000 /* more than a ring holds, whatever the time stamp's length */

static void *write_too_many(void *arg)
{
	char name[16] = "";

	(void)arg;
	log_thread_init("flood");
	pthread_getname_np(pthread_self(), name, sizeof(name));
	assert_string_equal(name, "flood");
	for (unsigned i = 0; i < FLOOD_LINES; i++)
		log_info("t", "n=%u", i);
	return NULL;
}

static void test_a_full_ring_drops_and_counts(void **state)
{
	pthread_t thread;
	int fds[2];

	(void)state;
	open_pipe(fds);
	assert_int_equal(pthread_create(&thread, NULL, write_too_many, NULL), 0);
	pthread_join(thread, NULL);
	assert_string_equal(read_pipe(fds[0]), ""); /* nobody but main writes */
	uint64_t dropped = log_dropped();
	assert_in_range(dropped, 1, FLOOD_LINES - 10000);
	unsigned written = 0, n;
	size_t bytes = 0;
	while ((n = log_drain())) {
		written += n;
		bytes += strlen(read_pipe(fds[0]));
	}
	assert_int_equal(written + dropped, FLOOD_LINES);
	assert_true(bytes > 0 && bytes <= 1 << 20);
	/* What was kept is the beginning; the end was dropped. */
	const char *last = strrchr(text, '=');
	assert_int_equal(strtoul(last + 1, NULL, 10), written - 1);
	assert_int_equal(log_drain(), 0);
	close_pipe(fds);
}

static void test_escape_leaves_no_way_to_forge_a_line(void **state)
{
	char out[64];

	(void)state;
	assert_string_equal(
		log_escape(BYTES_LIT("user@example.org"), out, sizeof(out)), "user@example.org");
	assert_string_equal(log_escape(BYTES_LIT("a\r\nb"), out, sizeof(out)), "a\\x0d\\x0ab");
	assert_string_equal(log_escape(BYTES_LIT("\"\\ \x7f\xff"), out, sizeof(out)),
		"\\x22\\x5c\\x20\\x7f\\xff");
	assert_string_equal(log_escape(bytes_make("\0", 1), out, sizeof(out)), "\\x00");
}

static void test_escape_stays_in_its_room_for_every_size(void **state)
{
	char out[40];

	(void)state;
	for (size_t cap = 1; cap < sizeof(out); cap++) {
		memset(out, '#', sizeof(out));
		log_escape(BYTES_LIT("ab\ncdefgh\nijklmnopqrstuvwxyz0123456789"), out, cap);
		assert_true(strlen(out) < cap);
		assert_int_equal(out[cap], '#');
	}
	assert_string_equal(log_escape(BYTES_LIT("abcdefghijkl"), out, 10), "abcdef...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_is_written_whole),
		cmocka_unit_test(test_a_long_line_is_cut),
		cmocka_unit_test(test_a_text_is_a_line_and_cut_like_one),
		cmocka_unit_test(test_a_full_ring_drops_and_counts),
		cmocka_unit_test(test_escape_leaves_no_way_to_forge_a_line),
		cmocka_unit_test(test_escape_stays_in_its_room_for_every_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
