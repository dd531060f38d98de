/* SPDX-License-Identifier: BSD-3-Clause
 * Many addresses and long mailboxes: memory of the directory that RCPT asks, opening a mailbox as
 * SELECT does (its state, then every row, slice by slice), warm and with nothing in the page cache,
 * reading the header of a message as FETCH of an envelope does, and looking a message of the queue
 * up by its id.
 *
 *   bench_mailbox DIR [messages of the long mailbox] [addresses]
 *
 * One JSON object on stdout.  A rate per core is by the reader thread's CPU time. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bench/store_user.h"
#include "dataplane/base/rt/eal.h"
#include "store/reader.h"

#define BODIES      1000 /* messages that the rows of all mailboxes point to */
#define SHORT       10000
#define ROWS        5400 /* of a slice: 256 KiB */
#define QUEUED      2000
#define LOOKS       20000
#define HEADER      1024 /* octets that an envelope is made of */
#define LOOKUPS     1000000
#define OUTSTANDING 64
#define SELECTS     20

static const char *const domains[] = {"example.org"};
static const struct store_conf conf = {.local_domains = domains, .local_domain_count = 1};
static struct store_user user = {.name = "bench_mailbox"};
static uint64_t next_id = 1;
static uint32_t uids[BODIES];

static double seconds_since(uint64_t us)
{
	return (double)(clock_mono_us() - us) / 1e6;
}

/* ---- the directory ---- */

static struct bytes address_make(char *out, size_t n, uint64_t i)
{
	int got = snprintf(out, n, "first.last%llu@example.org", (unsigned long long)i);

	return bytes_make(out, (size_t)got);
}

/* Octets per address, and look-ups/s of one thread. */
static double directory_measure(uint64_t addresses, double *per_s_r)
{
	struct directory_table *d = directory_create(domains, 1, '+');
	struct directory_entry entry;
	char text[64];

	for (uint64_t i = 0; d && i < addresses; i++)
		user.errors += directory_set(d, address_make(text, sizeof(text), i),
				       (uint32_t)i + 1, 0, DIRECTORY_STATE_OK) != 0;
	if (!d)
		exit(1);
	const struct directory *public = directory_public(d);
	uint64_t start = clock_mono_us(), found = 0;
	for (uint64_t i = 0; i < LOOKUPS; i++) {
		struct bytes a = address_make(text, sizeof(text), i * 2654435761u % addresses);
		found += public->lookup(public, a, &entry) == DIRECTORY_OK;
	}
	*per_s_r = LOOKUPS / seconds_since(start);
	user.errors += found != LOOKUPS;
	double bytes = (double)directory_bytes(d) / (double)addresses;
	directory_destroy(&d);
	return bytes;
}

/* ---- mail ---- */

static struct message *message_make(bool queued)
{
	struct message *m = message_new();
	char text[HEADER * 2];
	int n = snprintf(text, sizeof(text),
		"From: Some Body <some.body@example.net>\r\nTo: <user@example.org>\r\n"
		"Subject: a subject of the usual length\r\nMessage-ID: <%llu@example.net>\r\n"
		"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\ntext\r\n",
		(unsigned long long)next_id);

	if (!m || chain_append(&m->body, bytes_make(text, (size_t)n)) < 0)
		exit(1);
	m->id = next_id++;
	m->received_ms = clock_wall_ms();
	if (queued && (message_set_sender(m, BYTES_LIT("a@example.net")) < 0 ||
			      message_add_rcpt(m, BYTES_LIT("b@example.com"), RCPT_REMOTE, 0) < 0))
		exit(1);
	return m;
}

static void queue_fill(void)
{
	for (int i = 0; i < QUEUED; i++) {
		struct accept_op op = {.message = message_make(true)};
		store_user_run(&user, &user.writer, &op.op, HANDOFF_ACCEPT);
		message_unref(op.message);
	}
}

static uint32_t account_make(void)
{
	struct account_op op = {.action = ACCOUNT_ADD,
		.address = BYTES_LIT("user@example.org"),
		.hash = BYTES_LIT("$y$j9T$none")};

	store_user_run(&user, &user.writer, &op.op, STORE_ACCOUNT);
	return op.account;
}

static void bodies_append(uint32_t account)
{
	for (uint32_t i = 0; i < BODIES; i++) {
		struct append_op op = {.account = account,
			.target = BYTES_LIT("INBOX"),
			.message = message_make(false)};
		store_user_run(&user, &user.writer, &op.op, STORE_APPEND);
		uids[i] = op.uid;
		message_unref(op.message);
	}
}

/* A mailbox of `rows` messages: copies of those in the INBOX. */
static void mailbox_fill(uint32_t account, uint32_t inbox, struct bytes name, uint32_t rows)
{
	struct mbox_name_op make = {.account = account, .name = name};

	store_user_run(&user, &user.writer, &make.op, STORE_MBOX_CREATE);
	while (rows) {
		struct mbox_op op = {.account = account,
			.box = inbox,
			.uids = uids,
			.uid_count = MIN(rows, (uint32_t)BODIES),
			.target = name};
		store_user_run(&user, &user.writer, &op.op, STORE_COPY);
		rows -= op.uid_count;
	}
}

/* ---- what is measured ---- */

/* As SELECT does; returns seconds. */
static double open_mailbox(uint32_t account, struct bytes name, uint64_t *rows_r)
{
	uint64_t start = clock_mono_us();
	struct mbox_read_op op = {.account = account, .name = name};

	store_user_run(&user, &user.reader, &op.op, STORE_READ_MBOX_OPEN);
	chain_free(&op.out);
	uint32_t box = op.box;
	op = (struct mbox_read_op){.account = account, .box = box, .from_uid = 1, .max_rows = ROWS};
	for (*rows_r = 0; !op.end && !user.errors;) {
		store_user_run(&user, &user.reader, &op.op, STORE_READ_MBOX_ROWS);
		*rows_r += op.out.bytes / sizeof(struct mbox_row);
		chain_free(&op.out);
	}
	return seconds_since(start);
}

static double reader_cpu(void)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(user.store->readers[0]->thread, &clock) != 0 ||
		clock_gettime(clock, &ts) != 0)
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Mailboxes of 10,000 messages opened, for each second of the reader's CPU. */
static double selects(uint32_t account)
{
	double cpu = reader_cpu();
	uint64_t rows;

	for (int i = 0; i < SELECTS; i++) {
		open_mailbox(account, BYTES_LIT("short"), &rows);
		user.errors += rows != SHORT;
	}
	return SELECTS / (reader_cpu() - cpu);
}

static double headers(uint64_t first)
{
	static struct body_read_op ops[OUTSTANDING];
	double cpu = reader_cpu();

	for (uint32_t i = 0; i < LOOKS; i += OUTSTANDING) {
		for (uint32_t k = 0; k < OUTSTANDING; k++) {
			ops[k] = (struct body_read_op){
				.blob = first + (i * 7919u + k * 131u) % BODIES, .max = HEADER};
			store_user_submit(&user, &user.reader, &ops[k].op, STORE_READ_BODY, NULL);
		}
		store_user_wait(&user, &user.reader, 1);
		for (uint32_t k = 0; k < OUTSTANDING; k++)
			chain_free(&ops[k].out);
	}
	return LOOKS / (reader_cpu() - cpu);
}

static double queue_looks(uint64_t first)
{
	static struct queue_read_op ops[OUTSTANDING];
	double cpu = reader_cpu();

	for (uint32_t i = 0; i < LOOKS; i += OUTSTANDING) {
		for (uint32_t k = 0; k < OUTSTANDING; k++) {
			ops[k] = (struct queue_read_op){
				.id = first + (i * 7919u + k * 131u) % QUEUED};
			store_user_submit(&user, &user.reader, &ops[k].op, STORE_READ_QUEUE, NULL);
		}
		store_user_wait(&user, &user.reader, 1);
		for (uint32_t k = 0; k < OUTSTANDING; k++) {
			chain_free(&ops[k].rows);
			if (ops[k].message)
				message_unref(ops[k].message);
		}
	}
	return LOOKS / (reader_cpu() - cpu);
}

/* ---- life ---- */

/* Nothing of the store is in memory afterwards. */
static void forget(const char *directory)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/store/data.mdb", directory);
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fdatasync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	uint32_t rows = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
	uint64_t addresses = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000000, seen, found;
	double lookups;

	if (argc < 2 || rows < BODIES || addresses == 0) {
		fprintf(stderr, "usage: bench_mailbox DIR [messages] [addresses]\n");
		return 2;
	}
	eal_start_for_tests(64);
	store_user_init(&user, 8192, 512);
	double bytes = directory_measure(addresses, &lookups);
	store_user_open(&user, argv[1], conf, OUTSTANDING, OUTSTANDING);
	uint32_t account = account_make();
	uint64_t first_body = next_id;
	bodies_append(account);
	uint64_t first_queued = next_id;
	queue_fill();
	struct mbox_read_op inbox = {.account = account, .name = BYTES_LIT("INBOX")};
	store_user_run(&user, &user.reader, &inbox.op, STORE_READ_MBOX_OPEN);
	chain_free(&inbox.out);
	mailbox_fill(account, inbox.box, BYTES_LIT("short"), SHORT);
	mailbox_fill(account, inbox.box, BYTES_LIT("long"), rows);
	store_user_close(&user);
	forget(argv[1]);
	store_user_open(&user, argv[1], conf, OUTSTANDING, OUTSTANDING);
	double cold = open_mailbox(account, BYTES_LIT("long"), &seen);
	double warm = open_mailbox(account, BYTES_LIT("long"), &found);
	user.errors += seen != rows || found != rows;
	double select = selects(account), envelope = headers(first_body),
	       look = queue_looks(first_queued);
	printf("{\"bench\":\"mailbox\",\"addresses\":%llu,\"directory_bytes_per_address\":%.1f,"
	       "\"directory_lookups_per_s\":%.0f,\"messages\":%u,\"open_cold_ms\":%.0f,"
	       "\"open_warm_ms\":%.0f,\"select_10k_per_core_s\":%.0f,"
	       "\"header_per_core_s\":%.0f,\"queue_by_id_per_core_s\":%.0f,\"errors\":%llu}\n",
		(unsigned long long)addresses, bytes, lookups, rows, cold * 1e3, warm * 1e3, select,
		envelope, look, (unsigned long long)user.errors);
	store_user_close(&user);
	return user.errors ? 1 : 0;
}
