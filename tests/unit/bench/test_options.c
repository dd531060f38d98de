/* SPDX-License-Identifier: BSD-3-Clause
 * The command line of bypost-bench: what each flag sets, and that a value that is none is refused
 * by its name. */
#include "tests/unit/base/unit.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bench/bench_options.h"

#define WORDS_MAX 64

static struct bench_options o;
static char said[4096]; /* on standard error */

/* Returns what the parser does. */
static int parse_words(int argc, char **argv)
{
	FILE *log = tmpfile();
	int rc, old = dup(2);

	optind = 0; /* GNU: from the beginning */
	fflush(stderr);
	dup2(fileno(log), 2);
	rc = bench_options_parse(&o, argc, argv);
	fflush(stderr);
	dup2(old, 2);
	close(old);
	rewind(log);
	said[fread(said, 1, sizeof(said) - 1, log)] = '\0';
	fclose(log);
	return rc;
}

/* A command line in one; "_" stands for a space in a word. */
static int parse(const char *line)
{
	static char memory[1024]; /* the options point into it */
	char *argv[WORDS_MAX] = {"bypost-bench"};
	int argc = 1;

	snprintf(memory, sizeof(memory), "%s", line);
	for (char *word = strtok(memory, " "); word; word = strtok(NULL, " ")) {
		assert_true(argc < WORDS_MAX - 1);
		argv[argc++] = word;
		for (char *p = word; (p = strchr(p, '_'));)
			*p = ' ';
	}
	return parse_words(argc, argv);
}

static void parsed(const char *line)
{
	if (parse(line) != 0)
		fail_msg("%s: %s", line, said);
}

static void test_source_as_smtp_source(void **state)
{
	const struct source_conf *c = &o.source;

	(void)state;
	parsed("source -c -s 7 -m 8 -l 900 -d -r 3 -N -f a@b.example -t c@d.example -M me -T 4000 "
	       "-S About_this -w 1.5 -C 4 -A -4 inet:127.0.0.1:2525");
	assert_true(o.progress && c->number_rcpts && !c->pause_varies);
	assert_int_equal(c->sessions, 7);
	assert_int_equal(c->messages, 8);
	assert_int_equal(c->sizes[0], 900);
	assert_int_equal(c->per_connection, 0);
	assert_int_equal(c->rcpts, 3);
	assert_string_equal(c->sender, "a@b.example");
	assert_string_equal(c->to_local, "c");
	assert_string_equal(c->domains[0].name, "d.example");
	assert_string_equal(c->hello, "me");
	assert_string_equal(c->subject, "About this");
	assert_int_equal(o.engine.window, 4000);
	assert_int_equal(c->pause_us, 1500000);
	assert_int_equal(c->tries, 4);
	assert_int_equal(c->to[0].port, 2525);
	parsed("source -R 2 -L -F file.eml -6 [2001:2::1]");
	assert_true(c->pause_varies && c->lmtp);
	assert_int_equal(c->pause_us, 2000000);
	assert_int_equal(c->to[0].port, 25);
	assert_string_equal(o.corpus, "file.eml");
	/* as it is without flags */
	parsed("source 127.0.0.1");
	assert_int_equal(c->sessions, 1);
	assert_int_equal(c->messages, 1);
	assert_int_equal(c->per_connection, 1);
	assert_int_equal(c->pause_us | c->tries, 0);
}

static void test_source_of_its_own(void **state)
{
	const struct source_conf *c = &o.source;

	(void)state;
	parsed("source --seconds 3 --warm-up 1 --rate 100,2 --size 10,20 --domain a.example:3 "
	       "--domain "
	       "b.example --auth u:p:q --auth-mechanism login --starttls --bdat never "
	       "--no-pipelining "
	       "--source-ip 127.0.0.1-127.0.0.4 127.0.0.1 127.0.0.2:26");
	assert_int_equal(c->messages, 0);
	assert_int_equal(c->size_count, 2);
	assert_int_equal(c->domain_count, 2);
	assert_int_equal(c->domains[0].weight, 3);
	assert_string_equal(c->domains[1].name, "b.example");
	assert_string_equal(c->login.user, "u");
	assert_string_equal(c->login.password, "p:q");
	assert_int_equal(c->mechanisms, SASL_CLIENT_LOGIN);
	assert_int_equal(c->ignored, SMTP_EXT_PIPELINING | SMTP_EXT_CHUNKING);
	assert_int_equal(c->from_count, 4);
	assert_int_equal(c->to_count, 2);
	assert_true(c->starttls && c->rate == 100 && c->ramp == 2);
}

static void test_sink_as_smtp_sink(void **state)
{
	const struct sink_conf *c = &o.sink;

	(void)state;
	parsed("sink -c -8 -a -e -E -N -p -C -F -h mx.example -m 9 -M 10 -n 11 -w 2 -W rcpt:0.5:30 "
	       "-t 60 "
	       "-r mail,rcpt -f data_. -q helo -Q connect -b 451_4.7.1_Later -B 553_Never -L -4 "
	       ":2525 77");
	assert_int_equal(c->withheld, EHLO_NO_8BITMIME | EHLO_NO_ESMTP | EHLO_NO_ENHANCED |
					      EHLO_NO_DSN | EHLO_NO_PIPELINING);
	assert_true(c->no_auth && c->lmtp && o.progress);
	assert_string_equal(c->hostname, "mx.example");
	assert_int_equal(c->sessions_max, 9);
	assert_int_equal(o.stop_after, 10);
	assert_int_equal(o.stop_sessions, 11);
	assert_int_equal(c->delay_us[SINK_DATA], 2000000);
	assert_int_equal(c->delay_us[SINK_RCPT], 500000);
	assert_true(c->delay_odds[SINK_RCPT] == 0.3);
	assert_int_equal(c->timeout_us, 60000000);
	assert_true(c->fail[SINK_MAIL][SINK_4XX] == 1 && c->fail[SINK_RCPT][SINK_4XX] == 1);
	assert_true(c->fail[SINK_DATA][SINK_5XX] == 1 && c->fail[SINK_END][SINK_5XX] == 1);
	assert_true(c->fail[SINK_HELO][SINK_DROP] == 1 && c->fail[SINK_CONNECT][SINK_421] == 1);
	assert_string_equal(c->soft, "451 4.7.1 Later");
	assert_string_equal(c->hard, "553 Never");
	assert_int_equal(c->at.port, 2525);
	assert_int_equal(o.engine.backlog, 77);
	parsed("sink -A 3 -d dir/%H. -S From_me\\n\\\\\\101 127.0.0.1:25");
	assert_true(c->aborts);
	assert_int_equal(c->read_delay_us, 3000000);
	assert_string_equal(c->dump_each, "dir/%H.");
	assert_string_equal(c->dump_start, "From me\n\\A");
	parsed("sink -H 3 -D all -T 3000 [::1]:25");
	assert_false(c->aborts);
	assert_string_equal(c->dump_all, "all");
	assert_int_equal(o.engine.window, 3000);
	/* as it is without flags */
	parsed("sink :25");
	assert_int_equal(c->withheld, 0);
	assert_false(c->no_auth || c->aborts || c->dump_each || c->dump_all || c->soft[0]);
}

/* Every flag with a value, and one that is none. */
static const struct {
	const char *mode, *option, *value;
} bad_values[] = {
	{"source", "-s",               "0"                  },
	{"source", "-s",               "many"               },
	{"source", "-m",               "-1"                 },
	{"source", "-l",               "1"                  },
	{"source", "-l",               "10,x"               },
	{"source", "-r",               "0"                  },
	{"source", "-r",               "100000"             },
	{"source", "-t",               "nobody"             },
	{"source", "-T",               "0"                  },
	{"source", "-C",               "0"                  },
	{"source", "-R",               "-1"                 },
	{"source", "-w",               "soon"               },
	{"source", "-S",               "two\nlines"         },
	{"source", "-f",               "a\r@b"              },
	{"source", "-M",               "a\nb"               },
	{"source", "--hello",          "a\nb"               },
	{"source", "--seconds",        "nan"                },
	{"source", "--warm-up",        "-1"                 },
	{"source", "--rate",           "0"                  },
	{"source", "--rate",           "1,x"                },
	{"source", "--size",           "lognormal:x,1"      },
	{"source", "--size",           "lognormal:100"      },
	{"source", "--per-connection", "x"                  },
	{"source", "--domain",         "a:0"                },
	{"source", "--auth",           "nobody"             },
	{"source", "--auth-mechanism", "cram"               },
	{"source", "--bdat",           "maybe"              },
	{"source", "--source-ip",      "127.0.0.9-127.0.0.1"},
	{"source", "--source-ip",      "here"               },
	{"source", "--hold",           "0"                  },
	{"source", "--drain",          "x"                  },
	{"source", "--sink",           ":0"                 },
	{"sink",   "-A",               "x"                  },
	{"sink",   "-b",               "550 no"             },
	{"sink",   "-b",               "45x no"             },
	{"sink",   "-b",               "450"                },
	{"sink",   "-B",               "450 no"             },
	{"sink",   "-B",               "5"                  },
	{"sink",   "-B",               "550 two\nlines"     },
	{"sink",   "-f",               "quit"               },
	{"sink",   "-r",               "mail,none"          },
	{"sink",   "-q",               "x"                  },
	{"sink",   "-Q",               "x"                  },
	{"sink",   "-h",               "a\nb"               },
	{"sink",   "-H",               "x"                  },
	{"sink",   "-m",               "0"                  },
	{"sink",   "-M",               "0"                  },
	{"sink",   "-n",               "0"                  },
	{"sink",   "-S",               "\\q"                },
	{"sink",   "-S",               "\\0"                },
	{"sink",   "-S",               "\\777"              },
	{"sink",   "-t",               "x"                  },
	{"sink",   "-T",               "x"                  },
	{"sink",   "-w",               "x"                  },
	{"sink",   "-W",               "rcpt"               },
	{"sink",   "-W",               "rcpt:x"             },
	{"sink",   "-W",               "none:1"             },
	{"sink",   "-W",               "rcpt:1:100"         },
	{"sink",   "--fail",           "rcpt:4xx"           },
	{"sink",   "--fail",           "rcpt:6xx:1"         },
	{"sink",   "--fail",           "rcpt:4xx:101"       },
	{"sink",   "--delay",          "rcpt"               },
	{"sink",   "--mutant",         "eat:5"              },
	{"reader", "-t",               "x"                  },
	{"reader", "-r",               "0"                  },
	{"reader", "--expect",         "0"                  },
	{"reader", "--again",          "x"                  },
	{"source", "--engine",         "other"              },
	{"source", "--port",           "memif"              },
	{"source", "--address",        "198.18.0.1"         },
	{"source", "--address",        "198.18.0.1/33"      },
	{"source", "--gateway",        "x"                  },
	{"source", "--mtu",            "100"                },
	{"source", "--memory",         "0"                  },
	{"source", "--window",         "0"                  },
	{"source", "--idle",           "never"              },
	{"source", "--ledger-max",     "0"                  },
};

static void test_bad_values_are_named(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad_values); i++) {
		char mode[16], option[32], value[64], begin[64], to[] = "127.0.0.1:25";
		char *argv[] = {"bypost-bench", mode, option, value, to, NULL};

		snprintf(mode, sizeof(mode), "%s", bad_values[i].mode);
		snprintf(option, sizeof(option), "%s", bad_values[i].option);
		snprintf(value, sizeof(value), "%s", bad_values[i].value);
		snprintf(begin, sizeof(begin), "bypost-bench: %s: ", option);
		if (parse_words(5, argv) != -1 || strncmp(said, begin, strlen(begin)) != 0)
			fail_msg("%s %s: \"%s\"", option, bad_values[i].value, said);
	}
}

static void test_what_does_not_go_together(void **state)
{
	static const char *const lines[] = {
		"source",
		"source -6 127.0.0.1",
		"source -m 0 127.0.0.1",
		"source --engine dpdk 127.0.0.1",
		"source -v 127.0.0.1",
		"source -t "
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaa"
		"aaaaaaaa@b --domain "
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		"bbbbbb"
		"bbbbbbbb.example 127.0.0.1",
		"sink",
		"sink :25 0",
		"sink :25 many",
		"sink -d a -D b :25",
		"sink --tls :25",
		"sink -P :25",
		"reader 127.0.0.1 127.0.0.2",
		"match one.ledger",
		"nothing",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
		if (parse(lines[i]) != -1 || !said[0])
			fail_msg("%s: \"%s\"", lines[i], said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_source_as_smtp_source),
		cmocka_unit_test(test_source_of_its_own),
		cmocka_unit_test(test_sink_as_smtp_sink),
		cmocka_unit_test(test_bad_values_are_named),
		cmocka_unit_test(test_what_does_not_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
