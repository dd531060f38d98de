/* SPDX-License-Identifier: BSD-3-Clause
 * bypostctl (argument 1) against a made-up daemon: words, options, exit statuses, output. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "dataplane/base/check.h"

static const char *program;
static char directory[] = "/tmp/bypost-test-ctl-XXXXXX";
static char socket_path[64];

struct result {
	int status;
	char out[8192], err[4096], request[4096];
};

static int listen_socket(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", socket_path);
	unlink(socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* One connection: note the request line, answer, close. */
static pid_t serve(int fd, const char *answer, int note)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	char request[4096];
	size_t n = 0;
	int c = accept(fd, NULL, NULL);
	while (n < sizeof(request) && (n == 0 || request[n - 1] != '\n')) {
		ssize_t r = read(c, request + n, sizeof(request) - n);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	ssize_t w = write(note, request, n);
	w += write(c, answer, strlen(answer));
	_exit(w < 0);
}

static void slurp(int fd, char *out, size_t cap)
{
	size_t n = 0;

	for (ssize_t r; n + 1 < cap && (r = read(fd, out + n, cap - 1 - n)) > 0;)
		n += (size_t)r;
	out[n] = '\0';
	close(fd);
}

/* answer NULL: no daemon.  words: up to 8, ended by NULL. */
static struct result run(const char *answer, const char *input, const char *const *words)
{
	int out[2], err[2], in[2], note[2];
	static struct result r;
	const char *argv[16] = {program, "--socket", socket_path};

	for (int i = 0; words[i]; i++)
		argv[3 + i] = words[i];
	assert_int_equal(pipe(out) | pipe(err) | pipe(in) | pipe(note), 0);
	int fd = answer ? listen_socket() : -1;
	pid_t server = answer ? serve(fd, answer, note[1]) : 0;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		close(in[1]);
		execv(program, (char *const *)argv);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	close(in[0]);
	close(note[1]);
	signal(SIGPIPE, SIG_IGN);
	ssize_t w = write(in[1], input, strlen(input));
	(void)w;
	close(in[1]);
	slurp(out[0], r.out, sizeof(r.out));
	slurp(err[0], r.err, sizeof(r.err));
	waitpid(pid, &r.status, 0);
	r.status = WEXITSTATUS(r.status);
	if (server) {
		kill(server, SIGTERM);
		waitpid(server, NULL, 0);
		close(fd);
	}
	slurp(note[0], r.request, sizeof(r.request));
	unlink(socket_path);
	return r;
}

#define RUN(answer, input, ...) run(answer, input, (const char *const[]){__VA_ARGS__, NULL})
#define OK                      "{\"ok\":true,\"messages\":2,\"recipients\":3}\n"

static void test_usage_errors_are_2(void **state)
{
	(void)state;
	assert_int_equal(run(NULL, "", (const char *const[]){NULL}).status, 2);
	assert_int_equal(RUN(NULL, "", "nonsense").status, 2);
	assert_int_equal(RUN(NULL, "", "queue").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "r").status, 2); /* retry or release */
	assert_non_null(strstr(RUN(NULL, "", "queue", "r").err, "ambiguous"));
	assert_int_equal(RUN(NULL, "", "queue", "show").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "show", "1", "2").status, 2);
	assert_int_equal(RUN(NULL, "", "status", "--yes").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "list", "--limit", "x").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "list", "--nonsense").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "delete").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "delete", "--all").status, 2);
	assert_int_equal(RUN(NULL, "", "queue", "retry").status, 2);
	assert_int_equal(RUN(NULL, "", "user", "delete", "a@b").status, 2);
}

static void test_help_is_0(void **state)
{
	(void)state;
	assert_int_equal(RUN(NULL, "", "--help").status, 0);
	assert_non_null(strstr(RUN(NULL, "", "--help").out, "queue retry"));
	assert_int_equal(RUN(NULL, "", "--version").status, 0);
}

static void test_no_daemon_is_1_and_names_the_socket(void **state)
{
	struct result r = RUN(NULL, "", "status");

	(void)state;
	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.err, socket_path));
}

static void test_words_may_be_shortened(void **state)
{
	struct result r = RUN(OK, "", "q", "ret", "0123abc");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"queue retry\",\"id\":\"0123abc\"}\n");
	assert_string_equal(r.out, "retrying 2 messages, 3 recipients\n");
}

static void test_delete_all_with_yes(void **state)
{
	struct result r = RUN(OK, "", "queue", "delete", "--all", "--yes", "--json");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"queue delete\",\"all\":true}\n");
	assert_string_equal(r.out, OK);
}

static void test_errors_of_the_daemon(void **state)
{
	struct result r = RUN("{\"ok\":false,\"status\":\"error\",\"error\":\"no\\u001b[2J\"}\n",
		"", "queue", "show", "1");

	(void)state;
	assert_int_equal(r.status, 1);
	assert_string_equal(r.err, "bypostctl: no?[2J\n"); /* no control characters */
	r = RUN("{\"ok\":false,\"status\":\"notfound\",\"error\":\"no such message\"}\n", "",
		"queue", "show", "1");
	assert_int_equal(r.status, 3);
	assert_int_equal(RUN("garbage\n", "", "status").status, 1);
	assert_int_equal(RUN("", "", "status").status, 1);
	assert_int_equal(RUN("{\"a\":1}\n", "", "status").status, 1); /* cut off */
}

static void test_queue_list(void **state)
{
	static const char answer[] =
		"{\"id\":\"00ff\",\"sender\":\"\",\"size\":2048,\"received_ms\":0,\"recipients\":[{"
		"\"address\":\"u@example.net\",\"state\":\"held\",\"attempts\":3,\"next_ms\":0,"
		"\"code\":450,\"reason\":\"mx said: 450\"}]}\n{\"ok\":true,\"messages\":1}\n";
	struct result r = RUN(answer, "", "queue", "list", "--limit", "5");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"queue list\",\"limit\":5}\n");
	assert_non_null(strstr(r.out, "u@example.net"));
	assert_non_null(strstr(r.out, "2.0k"));
	assert_non_null(strstr(r.out, "mx said: 450"));
	r = RUN("{\"ok\":true,\"messages\":0}\n", "", "queue", "list");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "The queue is empty.\n");
	r = RUN("{\"ok\":true,\"messages\":0}\n", "", "queue", "list", "--domain", "x.example.org");
	assert_int_equal(r.status, 3);
}

static void test_password_comes_from_standard_input(void **state)
{
	struct result r = RUN("{\"ok\":true,\"address\":\"a@b.example\"}\n", "se cret\"\n", "user",
		"add", "a@b.example");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"user add\",\"address\":\"a@b.example\","
				       "\"password\":\"se cret\\\"\"}\n");
	assert_string_equal(r.out, "added a@b.example\n");
	assert_int_equal(RUN(NULL, "", "user", "add", "a@b.example").status, 1);
}

static void test_tcp_list(void **state)
{
	static const char answer[] =
		"{\"id\":\"0.1.2\",\"core\":0,\"local\":\"198.18.0.2:25\",\"peer\":\"198.18.0.1:"
		"9\","
		"\"state\":\"established\",\"owner\":\"smtp in: D\\u001b[2JATA\",\"cwnd\":14480,"
		"\"srtt_us\":1500,\"rto_us\":201000,\"bytes_in\":2048}\n"
		"{\"ok\":true,\"connections\":1,\"more\":true}\n";
	struct result r = RUN(answer, "", "tcp", "list", "--state", "established", "--port", "25",
		"--limit", "1");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"tcp list\",\"state\":\"established\","
				       "\"port\":25,\"limit\":1}\n");
	assert_non_null(strstr(r.out, "198.18.0.1:9"));
	assert_non_null(strstr(r.out, "1.5ms"));
	assert_non_null(strstr(r.out, "smtp in: D?[2JATA"));
	assert_non_null(strstr(r.out, "More"));
	r = RUN("{\"ok\":true,\"connections\":0}\n", "", "tcp", "list", "--peer", "198.18.0.9");
	assert_int_equal(r.status, 3);
	assert_int_equal(RUN(NULL, "", "tcp", "list", "--port", "70000").status, 2);
	assert_int_equal(RUN(NULL, "", "tcp", "show").status, 2);
}

static void test_a_noun_with_and_without_a_verb(void **state)
{
	struct result r =
		RUN("{\"rings\":[{\"name\":\"main.wr.rq\",\"kind\":\"request\","
		    "\"size\":512,\"depth\":1,\"high\":300,\"drops\":7}]}\n{\"ok\":true}\n",
			"", "net");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"net\"}\n");
	assert_non_null(strstr(r.out, "main.wr.rq"));
	r = RUN("{\"rows\":0,\"ok\":true}\n", "", "net", "neigh");
	assert_string_equal(r.request, "{\"command\":\"net neighbours\"}\n");
	assert_int_equal(RUN(NULL, "", "net", "nonsense").status, 2);
	assert_int_equal(RUN(NULL, "", "status", "nonsense").status, 2);
}

static void test_trace_writes_a_pcap(void **state)
{
	static const char answer[] = "{\"tracing\":true,\"snap\":1500,\"seconds\":3}\n"
				     "{\"ns\":1700000000123456789,\"size\":100,\"dir\":\"in\","
				     "\"port\":0,\"frame\":\"AQIDBA==\"}\n"
				     "{\"ok\":true,\"packets\":1,\"bytes\":4,\"dropped\":2}\n";
	static const uint8_t wanted[] = {0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0xdc, 5, 0, 0, 1, 0, 0, 0, /* a frame */ 0x00, 0xf1, 0x53, 0x65, 0x15, 0xcd, 0x5b,
		0x07, 4, 0, 0, 0, 100, 0, 0, 0, 1, 2, 3, 4};
	char path[96];
	uint8_t got[256];

	(void)state;
	snprintf(path, sizeof(path), "%s.pcap", socket_path);
	struct result r = RUN(answer, "", "trace", "--pcap", path, "--peer", "198.18.0.1");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"trace\",\"peer\":\"198.18.0.1\"}\n");
	assert_non_null(strstr(r.err, "1 packets with 4 octets captured, 2 dropped"));
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got), f), sizeof(wanted));
	assert_memory_equal(got, wanted, sizeof(wanted));
	fclose(f);
	unlink(path);
	assert_int_equal(RUN(NULL, "", "trace", "--peer", "198.18.0.1").status, 2);
	assert_int_equal(RUN(NULL, "", "trace", "--pcap", path).status, 2);
	assert_int_equal(
		RUN(NULL, "", "trace", "--pcap", path, "--peer", "a", "--conn", "b").status, 2);
	assert_int_equal(
		RUN("{\"ok\":false,\"status\":\"error\",\"error\":\"no\"}\n", "", "trace", "--pcap",
			path, "--conn", "0.0.1", "--seconds", "3", "--packets", "5")
			.status,
		1);
	unlink(path);
}

static void test_why(void **state)
{
	static const char answer[] =
		"{\"kind\":\"now\",\"what\":\"store-full\",\"text\":\"The store is "
		"full.\",\"remedy\":\"Room.\"}\n"
		"{\"kind\":\"refused\",\"what\":\"x\",\"count\":7,\"now\":1.5,\"text\":\"help\"}\n"
		"{\"kind\":\"waiting\",\"text\":\"451 try\\u001b "
		"later\",\"count\":3,\"oldest_ms\":120000,"
		"\"next_ms\":0,\"id\":\"0ab\",\"address\":\"u@x\"}\n"
		"{\"ok\":true,\"messages\":3,\"recipients\":3,\"all\":false}\n";
	struct result r = RUN(answer, "", "why", "--limit", "5");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.request, "{\"command\":\"why\",\"limit\":5}\n");
	assert_non_null(strstr(r.out, "The store is full.  Room."));
	assert_non_null(strstr(r.out, "1.5/s  help (x)"));
	assert_non_null(strstr(r.out, "451 try? later"));
	assert_non_null(strstr(r.out, "oldest 2m, next try now; for example 0ab to u@x"));
	assert_non_null(strstr(r.out, "oldest 3 messages only"));
	r = RUN("{\"ok\":true,\"messages\":0,\"recipients\":0,\"all\":true}\n", "", "why");
	assert_string_equal(r.out, "Nothing is refused and nothing waits.\n");
	r = RUN("{\"address\":\"u@x\",\"cause\":\"site-down\",\"text\":\"No "
		"host.\",\"remedy\":\"Wait.\"}\n"
		"{\"ok\":true,\"recipients\":1,\"more\":false}\n",
		"", "queue", "why", "0ab");
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "u@x: site-down\n    No host.\n    Wait.\n"));
	assert_int_equal(RUN(NULL, "", "queue", "why").status, 2);
}

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usage_errors_are_2),
		cmocka_unit_test(test_help_is_0),
		cmocka_unit_test(test_no_daemon_is_1_and_names_the_socket),
		cmocka_unit_test(test_words_may_be_shortened),
		cmocka_unit_test(test_delete_all_with_yes),
		cmocka_unit_test(test_errors_of_the_daemon),
		cmocka_unit_test(test_queue_list),
		cmocka_unit_test(test_password_comes_from_standard_input),
		cmocka_unit_test(test_tcp_list),
		cmocka_unit_test(test_why),
		cmocka_unit_test(test_trace_writes_a_pcap),
		cmocka_unit_test(test_a_noun_with_and_without_a_verb),
	};

	if (argc != 2)
		return 2;
	program = argv[1];
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
