/* SPDX-License-Identifier: BSD-3-Clause
 * Quotas, aliases, catch-alls, address extensions, domains, special uses, and what vanished. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "store/check.h"
#include "tests/unit/store/store_harness.h"

static struct harness h;
static uint32_t ann, bob;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
	ann = harness_account(&h, "ann@example.org");
	bob = harness_account(&h, "bob@example.org");
	return 0;
}

static void problem(void *ctx, const struct check_problem *p)
{
	(void)ctx;
	fprintf(stderr, "%s: %s: %s\n", p->what, p->object, p->detail);
}

static int teardown(void **state)
{
	char error[256];
	struct db db;

	(void)state;
	harness_close(&h);
	/* Whatever the test has done, the rows agree. */
	BUG_ON(db_open(&db, h.dir, 1 << 30, false, error, sizeof(error)) < 0);
	struct check *c = check_create(&(struct check_conf){.db = &db, .problem = problem});
	BUG_ON(check_run(c, &db, false) < 0);
	BUG_ON(check_totals(c)->problems);
	check_destroy(&c);
	db_close(&db);
	harness_fini(&h);
	return 0;
}

static enum directory_verdict verdict(const char *address)
{
	const struct directory *d = store_directory(h.store);
	struct directory_entry e;

	return d->lookup(d, bytes_str(address), &e);
}

static int accept(size_t octets, const char *a, const char *b)
{
	int status = harness_accept(&h, harness_message(&h, octets, (const char *[]){a, b, NULL}));

	harness_hints_drop(&h);
	return status;
}

static unsigned exists(uint32_t account)
{
	return harness_box(&h, account, "INBOX").exists;
}

static int alias(const char *address, const char *targets, size_t n)
{
	struct alias_op op = {.remove = targets == NULL,
		.address = bytes_str(address),
		.targets = bytes_make(targets, n)};

	return harness_write(&h, &op.op, STORE_ALIAS);
}
#define ALIAS(address, targets) alias(address, targets, sizeof(targets))

static int domain(const char *name, bool remove)
{
	struct domain_op op = {.remove = remove, .name = bytes_str(name)};

	return harness_write(&h, &op.op, STORE_DOMAIN);
}

static int account(const char *address, enum account_action action, uint64_t octets, uint32_t n)
{
	struct account_op op = {.action = (uint8_t)action,
		.address = bytes_str(address),
		.quota_bytes = octets,
		.quota_messages = n};

	return harness_write(&h, &op.op, STORE_ACCOUNT);
}

static void reopen(void)
{
	harness_close(&h);
	harness_open(&h);
}

/* Recipients of the queue, as text. */
static void queued(char *out, size_t cap)
{
	static const struct queue_filter any;
	struct queue_list_op l = {.max_messages = 100, .filter = &any};

	assert_int_equal(harness_read(&h, &l.op, STORE_READ_QUEUE_LIST), 0);
	size_t n = chain_read(&l.out, 0, out, cap - 1);
	out[n] = '\0';
	chain_free(&l.out);
}

/* ---- quota ---- */

static void test_quota_is_hard_in_the_writer_and_soft_at_rcpt(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 10000, 0), 0);
	assert_int_equal(accept(6000, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OK);
	/* More than is left. */
	assert_int_equal(accept(6000, "ann@example.org", NULL), HANDOFF_REFUSED);
	assert_int_equal(exists(ann), 1);
	/* Others take it; the sender hears of ann through the queue. */
	assert_int_equal(accept(6000, "ann@example.org", "bob@example.org"), HANDOFF_OK);
	assert_int_equal(exists(ann), 1);
	assert_int_equal(exists(bob), 1);
	queued(text, sizeof(text));
	assert_non_null(strstr(text, "ann@example.org"));
	/* The last octet: from now on RCPT says so. */
	assert_int_equal(accept(10000 - 6000 - 2 * 33, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 8000, 0), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OVER_QUOTA);
	reopen();
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OVER_QUOTA);
	/* Space comes back. */
	static const uint32_t one = 1;
	struct mbox_op op = {.account = ann,
		.box = harness_box(&h, ann, "INBOX").box,
		.uids = &one,
		.uid_count = 1};
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OK);
	assert_int_equal(accept(100, "ann@example.org", NULL), HANDOFF_OK);
}

static void test_quota_of_the_configuration_and_in_messages(void **state)
{
	(void)state;
	harness_close(&h);
	h.conf.quota_messages = 2;
	harness_open(&h);
	assert_int_equal(accept(10, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(accept(10, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OVER_QUOTA);
	assert_int_equal(accept(10, "ann@example.org", NULL), HANDOFF_REFUSED);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 0, UINT32_MAX), 0);
	assert_int_equal(accept(10, "ann@example.org", NULL), HANDOFF_OK);
}

static void test_append_and_copy_respect_the_quota(void **state)
{
	static const uint32_t uids[] = {1, 2}, moved[] = {3};

	(void)state;
	assert_int_equal(accept(4000, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(accept(4000, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 13000, 0), 0);
	struct mbox_op op = {.account = ann,
		.box = harness_box(&h, ann, "INBOX").box,
		.uids = uids,
		.uid_count = 2,
		.target = BYTES_LIT("INBOX")};
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), -EDQUOT);
	assert_int_equal(exists(ann), 2);
	/* what is moved takes no more room than before */
	assert_int_equal(harness_write(&h, &op.op, STORE_TRANSFER), 0);
	assert_int_equal(exists(ann), 2);
	op.uids = moved;
	op.uid_count = 1;
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
	struct append_op a = {.account = ann,
		.target = BYTES_LIT("INBOX"),
		.message = harness_message(&h, 4000, (const char *[]){NULL})};
	assert_int_equal(harness_write(&h, &a.op, STORE_APPEND), -EDQUOT);
	message_unref(a.message);
}

static void test_a_disabled_account(void **state)
{
	struct credentials_op c = {.address = BYTES_LIT("ann@example.org")};

	(void)state;
	assert_int_equal(account("ann@example.org", ACCOUNT_DISABLE, 0, 0), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_DISABLED);
	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), -ENOENT);
	reopen();
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_DISABLED);
	assert_int_equal(account("ann@example.org", ACCOUNT_ENABLE, 0, 0), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OK);
	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), 0);
	assert_string_equal(c.hash, "$y$j9T$not.a.real.hash");
	/* One that is full is full when it is back. */
	assert_int_equal(accept(4000, "ann@example.org", NULL), HANDOFF_OK);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 1000, 0), 0);
	assert_int_equal(account("ann@example.org", ACCOUNT_DISABLE, 0, 0), 0);
	assert_int_equal(account("ann@example.org", ACCOUNT_ENABLE, 0, 0), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OVER_QUOTA);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 0, 0), 0);
	assert_int_equal(verdict("ann@example.org"), DIRECTORY_OK);
}

/* ---- aliases ---- */

static void test_an_alias_has_local_and_remote_targets(void **state)
{
	char text[4096];
	struct credentials_op c = {.address = BYTES_LIT("all@example.org")};

	(void)state;
	assert_int_equal(
		ALIAS("all@example.org", "ann@example.org\0Bob@Example.org\0x@far.example.net"), 0);
	assert_int_equal(verdict("ALL@example.org"), DIRECTORY_OK);
	assert_int_equal(accept(500, "all@example.org", "bob@example.org"), HANDOFF_OK);
	assert_int_equal(exists(ann), 1);
	assert_int_equal(exists(bob), 1); /* two ways, one copy */
	queued(text, sizeof(text));
	assert_non_null(strstr(text, "x@far.example.net"));
	assert_null(strstr(text, "all@example.org"));
	/* Nobody logs in as an alias; a user of that name cannot be made. */
	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), -ENOENT);
	struct account_op add = {.action = ACCOUNT_ADD,
		.address = BYTES_LIT("all@example.org"),
		.hash = BYTES_LIT("x")};
	assert_int_equal(harness_write(&h, &add.op, STORE_ACCOUNT), -EEXIST);
	assert_int_equal(ALIAS("ann@example.org", "bob@example.org"), -EEXIST);
	reopen();
	/* Changed, then gone. */
	assert_int_equal(ALIAS("all@example.org", "ann@example.org"), 0);
	assert_int_equal(accept(500, "all@example.org", NULL), HANDOFF_OK);
	assert_int_equal(exists(ann), 2);
	assert_int_equal(exists(bob), 1);
	assert_int_equal(alias("all@example.org", NULL, 0), 0);
	assert_int_equal(verdict("all@example.org"), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(alias("all@example.org", NULL, 0), -ENOENT);
}

/* A message to one alias, with NOTIFY; the queue's rows of it. */
static struct message *accept_alias(const char *address, uint8_t notify, struct queue_read_op *q)
{
	struct dsn_rcpt dsn = {.notify = notify, .orcpt = BYTES_LIT("rfc822;All@x")};
	const struct directory *d = store_directory(h.store);
	struct message *m = harness_message(&h, 300, (const char *[]){NULL});
	struct directory_entry entry;

	assert_int_equal(d->lookup(d, bytes_str(address), &entry), DIRECTORY_OK);
	assert_int_equal(
		message_add_rcpt_dsn(m, bytes_str(address), RCPT_LOCAL, entry.account, &dsn), 0);
	*q = (struct queue_read_op){.id = m->id};
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	int status = harness_read(&h, &q->op, STORE_READ_QUEUE);
	harness_hints_drop(&h);
	return status == 0 ? q->message : NULL;
}

/* RFC 3461 5.2.7: what is asked of an alias. */
static void test_what_the_sender_asked_of_an_alias(void **state)
{
	static const struct {
		uint8_t asked, one, many; /* of the one, and of each of many */
		bool told;
	} table[] = {
		{0,			     0,			     0,              false},
		{NOTIFY_NEVER,                  NOTIFY_NEVER,                  NOTIFY_NEVER,   false},
		{NOTIFY_FAILURE,                NOTIFY_FAILURE,                NOTIFY_FAILURE, false},
		{NOTIFY_SUCCESS,                NOTIFY_SUCCESS,                NOTIFY_NEVER,   true },
		{NOTIFY_SUCCESS | NOTIFY_DELAY, NOTIFY_SUCCESS | NOTIFY_DELAY, NOTIFY_DELAY,   true },
	};

	(void)state;
	assert_int_equal(ALIAS("one@example.org", "x@far.example.net"), 0);
	assert_int_equal(ALIAS("many@example.org", "x@far.example.net\0y@far.example.net"), 0);
	for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
		struct queue_read_op q;
		struct message *m = accept_alias("one@example.org", table[i].asked, &q);
		assert_non_null(m);
		assert_int_equal(m->rcpt_count, 1);
		assert_int_equal(message_rcpt(m, 0)->notify, table[i].one);
		assert_true(bytes_eq(
			message_rcpt_orcpt(m, message_rcpt(m, 0)), BYTES_LIT("rfc822;All@x")));
		message_unref(m);
		chain_free(&q.rows);
		m = accept_alias("many@example.org", table[i].asked, &q);
		assert_non_null(m);
		assert_int_equal(m->rcpt_count, 2 + table[i].told);
		if (table[i].told) {
			const struct rcpt *r = message_rcpt(m, 0);
			assert_int_equal(
				r->notify, table[i].asked | NOTIFY_DELIVERED | NOTIFY_EXPANDED);
			assert_true(bytes_eq(
				message_rcpt_address(m, r), BYTES_LIT("many@example.org")));
		}
		for (uint32_t k = table[i].told; k < m->rcpt_count; k++)
			assert_int_equal(message_rcpt(m, k)->notify, table[i].many);
		message_unref(m);
		chain_free(&q.rows);
	}
}

static void test_a_target_that_is_full_bounces(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(ALIAS("all@example.org", "ann@example.org\0bob@example.org"), 0);
	assert_int_equal(account("ann@example.org", ACCOUNT_QUOTA, 100, 0), 0);
	assert_int_equal(accept(500, "all@example.org", NULL), HANDOFF_OK);
	assert_int_equal(exists(ann), 0);
	assert_int_equal(exists(bob), 1);
	queued(text, sizeof(text));
	assert_non_null(strstr(text, "ann@example.org"));
}

static void test_loops_are_refused(void **state)
{
	(void)state;
	assert_int_equal(ALIAS("a@example.org", "a@example.org"), -ELOOP);
	assert_int_equal(ALIAS("a@example.org", "b@example.org\0ann@example.org"), 0);
	assert_int_equal(ALIAS("b@example.org", "c@example.org"), 0);
	assert_int_equal(ALIAS("c@example.org", "ann@example.org\0A@example.org"), -ELOOP);
	assert_int_equal(ALIAS("c@example.org", "bob@example.org"), 0);
	assert_int_equal(accept(10, "a@example.org", NULL), HANDOFF_OK);
	assert_int_equal(exists(ann), 1);
	assert_int_equal(exists(bob), 1);
	/* A catch-all whose target only it would catch. */
	assert_int_equal(ALIAS("@example.org", "nobody@example.org"), -ELOOP);
	/* Nonsense. */
	assert_int_equal(ALIAS("x@example.org", ""), -EINVAL);
	assert_int_equal(ALIAS("x@example.org", "no-sign"), -EINVAL);
	assert_int_equal(ALIAS("no-sign", "ann@example.org"), -EINVAL);
}

static void test_catch_all_and_extension(void **state)
{
	(void)state;
	assert_int_equal(verdict("nobody@example.org"), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(verdict("ann+lists@example.org"), DIRECTORY_OK);
	assert_int_equal(verdict("+ann@example.org"), DIRECTORY_UNKNOWN_USER);
	assert_int_equal(ALIAS("@example.org", "bob@example.org"), 0);
	assert_int_equal(accept(10, "nobody@example.org", NULL), HANDOFF_OK);
	assert_int_equal(exists(bob), 1);
	/* The catch-all is the last that is asked. */
	assert_int_equal(accept(10, "ann+lists@example.org", "ann+more@example.org"), HANDOFF_OK);
	assert_int_equal(exists(ann), 1);
	assert_int_equal(exists(bob), 1);
}

static void test_domains_are_added_and_removed(void **state)
{
	(void)state;
	assert_int_equal(verdict("eve@new.example.net"), DIRECTORY_REMOTE);
	assert_int_equal(domain("new.example.net", false), 0);
	assert_int_equal(domain("new.example.net", false), -EEXIST);
	assert_int_equal(verdict("eve@new.example.net"), DIRECTORY_UNKNOWN_USER);
	uint32_t eve = harness_account(&h, "eve@new.example.net");
	reopen();
	assert_int_equal(accept(10, "eve@new.example.net", NULL), HANDOFF_OK);
	assert_int_equal(exists(eve), 1);
	assert_int_equal(domain("new.example.net", true), 0);
	assert_int_equal(verdict("eve@new.example.net"), DIRECTORY_REMOTE);
	assert_int_equal(domain("new.example.net", true), -ENOENT);
	assert_int_equal(domain("a@b", false), -EINVAL);
}

/* ---- mailboxes ---- */

static void test_special_use_is_one_mailbox_of_each(void **state)
{
	struct mbox_name_op op = {
		.account = ann, .name = BYTES_LIT("Sent"), .special = SPECIAL_SENT};

	(void)state;
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_CREATE), 0);
	assert_int_equal(harness_box(&h, ann, "Sent").special, SPECIAL_SENT);
	op.name = BYTES_LIT("Sent too");
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_CREATE), -EBUSY);
	op.special = SPECIAL_NONE;
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_CREATE), 0);
	op.special = SPECIAL_N;
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_SPECIAL), -EINVAL);
	op.special = SPECIAL_TRASH;
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_SPECIAL), 0);
	reopen();
	assert_int_equal(harness_box(&h, ann, "Sent too").special, SPECIAL_TRASH);
	op.name = BYTES_LIT("none");
	assert_int_equal(harness_write(&h, &op.op, STORE_MBOX_SPECIAL), -ENOENT);
}

static unsigned gone(uint32_t box, uint64_t since, struct mbox_gone *out, uint64_t *floor_r)
{
	struct mbox_gone_op op = {.account = ann, .box = box, .since_modseq = since};
	unsigned n = 0;

	while (!op.end) {
		struct chunk *c;
		assert_int_equal(harness_read(&h, &op.op, STORE_READ_MBOX_GONE), 0);
		while ((c = chain_pop(&op.out))) {
			for (uint32_t at = 0; at < c->n; at += sizeof(*out))
				memcpy(&out[n++], c->data + at, sizeof(*out));
			chunk_put(c);
		}
	}
	*floor_r = op.gone_floor;
	return n;
}

static void expunge(uint32_t box, const uint32_t *uids, uint32_t n)
{
	struct mbox_op op = {.account = ann, .box = box, .uids = uids, .uid_count = n};

	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
}

static void test_what_vanished_is_told_in_runs(void **state)
{
	static const uint32_t first[] = {2, 3, 4, 7}, second[] = {1, 8};
	struct mbox_gone g[16];
	uint64_t floor;

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(accept(10, "ann@example.org", NULL), HANDOFF_OK);
	uint32_t box = harness_box(&h, ann, "INBOX").box;
	uint64_t before = harness_box(&h, ann, "INBOX").highestmodseq;
	expunge(box, first, ARRAY_LEN(first));
	uint64_t between = harness_box(&h, ann, "INBOX").highestmodseq;
	expunge(box, second, ARRAY_LEN(second));
	assert_int_equal(gone(box, before, g, &floor), 4);
	assert_int_equal(floor, 0);
	assert_int_equal(g[0].first, 2);
	assert_int_equal(g[0].last, 4);
	assert_int_equal(g[1].first, 7);
	assert_int_equal(g[1].last, 7);
	assert_int_equal(g[1].modseq, between);
	assert_int_equal(g[2].first, 1);
	assert_int_equal(g[3].first, 8);
	assert_int_equal(gone(box, between, g, &floor), 2);
	assert_int_equal(gone(box, between + 1, g, &floor), 0);
}

static void test_an_expunged_body_can_be_read_for_a_while(void **state)
{
	static const uint32_t one = 1;

	(void)state;
	harness_close(&h);
	h.conf.expunged_read_ms = 2000;
	harness_open(&h);
	uint64_t id = h.next_id;
	assert_int_equal(accept(3000, "ann@example.org", NULL), HANDOFF_OK);
	expunge(harness_box(&h, ann, "INBOX").box, &one, 1);
	assert_int_equal(exists(ann), 0);
	assert_true(harness_body_is(&h, id, 3000, "Received: here\r\n", true));
	reopen(); /* whoever is still reading has gone, but the row is not forgotten */
	for (int i = 0; i < 100 && harness_body_is(&h, id, 3000, "Received: here\r\n", true); i++)
		usleep(100000);
	assert_false(harness_body_is(&h, id, 3000, "Received: here\r\n", true));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_quota_is_hard_in_the_writer_and_soft_at_rcpt),
		T(test_quota_of_the_configuration_and_in_messages),
		T(test_append_and_copy_respect_the_quota),
		T(test_a_disabled_account),
		T(test_an_alias_has_local_and_remote_targets),
		T(test_what_the_sender_asked_of_an_alias),
		T(test_a_target_that_is_full_bounces),
		T(test_loops_are_refused),
		T(test_catch_all_and_extension),
		T(test_domains_are_added_and_removed),
		T(test_special_use_is_one_mailbox_of_each),
		T(test_what_vanished_is_told_in_runs),
		T(test_an_expunged_body_can_be_read_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
