/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/store/store_harness.h"
#include <errno.h>
#include <sys/mount.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/eal.h"
#include "store/store_priv.h"

#define CHUNKS   4096
#define MESSAGES 512
#define WAIT_US  (60 * US_PER_SEC)

static const char *const domains[] = {"example.org"};
static const char *const hash = "$y$j9T$not.a.real.hash";

static void pools_once(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	eal_start_for_tests(64);
	BUG_ON(chunk_pool_init(CHUNKS, -1) < 0);
	BUG_ON(message_pool_init(MESSAGES, -1) < 0);
}

void harness_init(struct harness *h)
{
	const char *tmp = getenv("TMPDIR");

	pools_once();
	*h = (struct harness){.next_id = 1ull << 20};
	snprintf(h->dir, sizeof(h->dir), "%s/bypost-store-XXXXXX", tmp ? tmp : "/tmp");
	BUG_ON(!mkdtemp(h->dir));
	h->conf = (struct store_conf){.path = h->dir,
		.shards = 1,
		.readers = 1,
		.map_bytes = 1ull << 30,
		.reserve_bytes = 1,
		.queue_lifetime_ms = 1000000,
		.expunged_read_ms = 1,
		.extension = '+',
		.local_domains = domains,
		.local_domain_count = 1};
	BUG_ON(waker_init(&h->waker) < 0);
}

void harness_open(struct harness *h)
{
	char error[512];
	uint32_t capacity = 64;

	h->conf.path = h->dir;
	if (store_open(&h->conf, &h->store, error, sizeof(error)) < 0) {
		fprintf(stderr, "%s\n", error);
		abort();
	}
	BUG_ON(channel_init(&h->writer, "tw", capacity, &h->waker, &store_writer(h->store)->waker,
		       -1) < 0);
	BUG_ON(channel_init(&h->reader, "tr", capacity, &h->waker,
		       &store_reader(h->store, 0)->waker, -1) < 0);
	BUG_ON(hints_init(&h->ready, "trd", 1024, &h->waker, -1) < 0);
	BUG_ON(hints_init(&h->events, "tev", 1024, &h->waker, -1) < 0);
	BUG_ON(service_add(store_writer(h->store), &h->writer) < 0);
	BUG_ON(service_add(store_reader(h->store, 0), &h->reader) < 0);
	BUG_ON(store_add_ready(h->store, &h->ready) < 0);
	BUG_ON(store_add_events(h->store, &h->events) < 0);
	BUG_ON(store_start(h->store) < 0);
}

void harness_hints_drop(struct harness *h)
{
	void *v;

	while (hints_take(&h->ready, &v, 1)) {
		struct message *m;
		ready_hint_take(v, &m);
		if (m)
			message_unref(m);
	}
}

void harness_close(struct harness *h)
{
	store_stop(h->store);
	store_close(&h->store);
	harness_hints_drop(h);
	hints_fini(&h->ready);
	hints_fini(&h->events);
	channel_fini(&h->writer);
	channel_fini(&h->reader);
}

static void file_remove(struct harness *h, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	unlink(path);
}

void harness_fini(struct harness *h)
{
	waker_fini(&h->waker);
	file_remove(h, "data.mdb");
	file_remove(h, "lock.mdb");
	file_remove(h, "lock");
	file_remove(h, "journal");
	file_remove(h, "ballast");
	if (h->mounted)
		umount(h->dir);
	rmdir(h->dir);
}

static __thread bool done_flag;

static void done(struct op *op)
{
	(void)op;
	done_flag = true;
}

int harness_run(struct channel *c, struct op *op, unsigned kind)
{
	uint64_t end = clock_mono_us() + WAIT_US;

	op->kind = (uint16_t)kind;
	op->done = done;
	done_flag = false;
	BUG_ON(channel_submit(c, op) < 0);
	while (!done_flag) {
		BUG_ON(clock_mono_us() > end);
		if (channel_poll(c))
			continue;
		waker_begin(c->requester);
		if (!channel_poll(c))
			waker_wait(c->requester, 10000);
		waker_end(c->requester);
	}
	return op->status;
}

int harness_write(struct harness *h, struct op *op, unsigned kind)
{
	return harness_run(&h->writer, op, kind);
}

int harness_read(struct harness *h, struct op *op, unsigned kind)
{
	return harness_run(&h->reader, op, kind);
}

uint32_t harness_account(struct harness *h, const char *address)
{
	struct account_op op = {
		.action = ACCOUNT_ADD, .address = bytes_str(address), .hash = bytes_str(hash)};

	BUG_ON(harness_write(h, &op.op, STORE_ACCOUNT) != 0);
	return op.account;
}

uint8_t harness_octet(uint64_t id, uint64_t at)
{
	return (uint8_t)(id * 31 + at * 7 + (at >> 8));
}

void harness_body_append(struct message *m, uint64_t id, uint64_t from, size_t n)
{
	uint8_t part[1021];

	while (n) {
		size_t k = MIN(n, sizeof(part));
		for (size_t i = 0; i < k; i++)
			part[i] = harness_octet(id, from + i);
		BUG_ON(chain_append(&m->body, bytes_make(part, k)) < 0);
		from += k;
		n -= k;
	}
}

struct message *harness_message(struct harness *h, size_t n, const char *const *rcpts)
{
	const struct directory *d = store_directory(h->store);
	struct message *m = message_new();

	BUG_ON(!m);
	m->id = h->next_id++;
	m->received_ms = 1700000000000ull;
	BUG_ON(message_set_sender(m, BYTES_LIT("from@example.net")) < 0);
	BUG_ON(message_prepend(m, BYTES_LIT("Received: here\r\n"), false) < 0);
	BUG_ON(message_prepend(m, BYTES_LIT("Return-Path: <>\r\n"), true) < 0);
	for (; *rcpts; rcpts++) {
		struct directory_entry e;
		enum directory_verdict v = d->lookup(d, bytes_str(*rcpts), &e);
		/* Full by now, but not when RCPT was answered. */
		bool local = v == DIRECTORY_OK || v == DIRECTORY_OVER_QUOTA;
		BUG_ON(message_add_rcpt(m, bytes_str(*rcpts), local ? RCPT_LOCAL : RCPT_REMOTE,
			       e.account) < 0);
	}
	harness_body_append(m, m->id, 0, n);
	return m;
}

int harness_accept(struct harness *h, struct message *m)
{
	struct accept_op op = {.message = m};
	int status = harness_write(h, &op.op, HANDOFF_ACCEPT);

	message_unref(m);
	return status;
}

struct mbox_state harness_box(struct harness *h, uint32_t account, const char *name)
{
	struct mbox_read_op op = {.account = account, .name = bytes_str(name)};

	BUG_ON(harness_read(h, &op.op, STORE_READ_MBOX_OPEN) != 0);
	chain_free(&op.out);
	return op.state;
}

unsigned harness_rows(struct harness *h, uint32_t account, uint32_t box, uint64_t since,
	struct mbox_row *rows, unsigned max)
{
	struct mbox_read_op op = {
		.account = account, .box = box, .max_rows = 7, .since_modseq = since};
	unsigned n = 0;

	while (!op.end) {
		struct chunk *c;
		BUG_ON(harness_read(h, &op.op, STORE_READ_MBOX_ROWS) != 0);
		while ((c = chain_pop(&op.out))) {
			for (uint32_t at = 0; at < c->n && n < max; at += sizeof(*rows))
				memcpy(&rows[n++], c->data + at, sizeof(*rows));
			chunk_put(c);
		}
	}
	return n;
}

static bool slice_is(const struct chain *out, uint64_t id, uint64_t at, const char *prefix)
{
	size_t prefix_n = strlen(prefix);

	for (const struct chunk *c = out->head; c; c = c->next) {
		for (uint32_t i = 0; i < c->n; i++, at++) {
			uint8_t want = at < prefix_n ? (uint8_t)prefix[at]
						     : harness_octet(id, at - prefix_n);
			if (c->data[i] != want)
				return false;
		}
	}
	return true;
}

bool harness_body_is(struct harness *h, uint64_t id, size_t n, const char *prefix, bool relay)
{
	struct body_read_op op = {.blob = id, .max = 100001, .relay = relay};

	do {
		if (harness_read(h, &op.op, STORE_READ_BODY) != 0)
			return false;
		uint64_t got = op.out.bytes;
		bool same = slice_is(&op.out, id, op.offset, prefix);
		chain_free(&op.out);
		if (!same || op.total != strlen(prefix) + n || (got == 0 && op.offset < op.total))
			return false;
		op.offset += got;
	} while (op.offset < op.total);
	return true;
}

const struct db *harness_db(const struct harness *h)
{
	return &h->store->db;
}

bool harness_nothing_leaked(const struct harness *h)
{
	(void)h;
	return chunk_pool_free_count() == chunk_pool_size();
}
