/* SPDX-License-Identifier: BSD-3-Clause
 * Mailboxes: names, rows, counts, flags, copies, expunge, change sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "tests/unit/store/store_harness.h"

static struct harness h;
static uint32_t ann;

static int setup(void **state)
{
	(void)state;
	harness_init(&h);
	harness_open(&h);
	ann = harness_account(&h, "ann@example.org");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_close(&h);
	BUG_ON(!harness_nothing_leaked(&h));
	harness_fini(&h);
	return 0;
}

static int name_op(unsigned kind, const char *name, const char *new_name, bool subscribe)
{
	struct mbox_name_op op = {.account = ann,
		.name = bytes_str(name),
		.new_name = bytes_str(new_name),
		.subscribe = subscribe};

	return harness_write(&h, &op.op, kind);
}

static int create(const char *name)
{
	return name_op(STORE_MBOX_CREATE, name, NULL, false);
}

/* All names, joined by spaces; subscribed ones get a '+'. */
static const char *list(void)
{
	static char text[4096];
	uint8_t last[MBOX_NAME_MAX];
	struct mbox_list_op op = {.account = ann};
	struct buf b;

	buf_init(&b, text, sizeof(text) - 1);
	while (!op.end) {
		struct chunk *c;
		assert_int_equal(harness_read(&h, &op.op, STORE_READ_MBOX_LIST), 0);
		while ((c = chain_pop(&op.out))) {
			for (uint32_t at = 0; at < c->n;) {
				uint16_t n;
				memcpy(&n, c->data + at, 2);
				buf_printf(&b, "%s%.*s%s", b.n ? " " : "", n, c->data + at + 4,
					c->data[at + 2] ? "+" : "");
				memcpy(last, c->data + at + 4, n);
				op.from = bytes_make(last, n);
				at += (4u + n + 3) & ~3u;
			}
			chunk_put(c);
		}
	}
	text[b.n] = '\0';
	return text;
}

static struct chain words(const char *text, size_t n)
{
	struct chain c = {0};

	if (n)
		BUG_ON(chain_append(&c, bytes_make(text, n)) < 0);
	return c;
}

static uint32_t append(const char *box, uint32_t flags, const char *keywords, size_t keywords_n)
{
	struct message *m = harness_message(&h, 1000, (const char *[]){NULL});
	struct append_op op = {.account = ann,
		.target = bytes_str(box),
		.message = m,
		.flags = flags,
		.keywords = words(keywords, keywords_n),
		.internal_ms = 12345,
		.internal_zone_min = -90};
	int status = harness_write(&h, &op.op, STORE_APPEND);

	message_unref(m);
	return status ? 0 : op.uid;
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(list(), "INBOX");
	assert_int_equal(create("Work/2024"), 0);
	assert_int_equal(create("Work/"), 0);
	assert_int_equal(create("Work"), -EEXIST);
	assert_int_equal(create("inbox"), -EEXIST);
	assert_int_equal(create("Workbench"), 0);
	assert_int_equal(create("Entw\xc3\xbcrfe"), 0);
	assert_int_equal(create("bad\xff"), -EINVAL);
	assert_int_equal(create("a//b"), -EINVAL);
	assert_int_equal(create("/a"), -EINVAL);
	assert_int_equal(create("a*"), -EINVAL);
	assert_int_equal(create("a\r\nb"), -EINVAL);
	assert_int_equal(create(""), -EINVAL);
	assert_int_equal(name_op(STORE_MBOX_SUBSCRIBE, "Work", NULL, true), 0);
	assert_string_equal(list(), "Entw\xc3\xbcrfe INBOX Work+ Work/2024 Workbench");
	assert_int_equal(name_op(STORE_MBOX_RENAME, "Work", "Work/x", false), -EINVAL);
	assert_int_equal(name_op(STORE_MBOX_RENAME, "Work", "Workbench", false), -EEXIST);
	assert_int_equal(name_op(STORE_MBOX_RENAME, "none", "x", false), -ENOENT);
	assert_int_equal(name_op(STORE_MBOX_RENAME, "Work", "Old", false), 0);
	assert_string_equal(list(), "Entw\xc3\xbcrfe INBOX Old+ Old/2024 Workbench");
	assert_int_equal(name_op(STORE_MBOX_DELETE, "INBOX", NULL, false), -EINVAL);
	assert_int_equal(name_op(STORE_MBOX_DELETE, "none", NULL, false), -ENOENT);
	assert_int_equal(name_op(STORE_MBOX_DELETE, "Old", NULL, false), 0);
	assert_string_equal(list(), "Entw\xc3\xbcrfe INBOX Old/2024 Workbench");
	harness_close(&h);
	harness_open(&h);
	assert_string_equal(list(), "Entw\xc3\xbcrfe INBOX Old/2024 Workbench");
}

static void test_child_collision_renames_nothing(void **state)
{
	(void)state;
	assert_int_equal(create("a/x"), 0);
	assert_int_equal(create("a"), 0);
	assert_int_equal(create("b/x"), 0);
	assert_int_equal(name_op(STORE_MBOX_RENAME, "a", "b", false), -EEXIST);
	assert_string_equal(list(), "INBOX a a/x b/x");
}

static void test_new_mailbox_has_new_uidvalidity(void **state)
{
	(void)state;
	assert_int_equal(create("a"), 0);
	uint32_t before = harness_box(&h, ann, "a").uidvalidity;
	assert_int_equal(append("a", 0, NULL, 0), 1);
	assert_int_equal(name_op(STORE_MBOX_DELETE, "a", NULL, false), 0);
	assert_int_equal(create("a"), 0);
	struct mbox_state s = harness_box(&h, ann, "a");
	assert_true(s.uidvalidity > before);
	assert_int_equal(s.exists, 0);
}

static void test_rename_of_inbox_leaves_an_empty_one(void **state)
{
	(void)state;
	assert_int_equal(append("INBOX", 0, NULL, 0), 1);
	assert_int_equal(append("INBOX", 0, NULL, 0), 2);
	struct mbox_state before = harness_box(&h, ann, "INBOX");
	assert_int_equal(name_op(STORE_MBOX_RENAME, "INBOX", "old", false), 0);
	assert_string_equal(list(), "INBOX old");
	struct mbox_state old = harness_box(&h, ann, "old"), inbox = harness_box(&h, ann, "INBOX");
	assert_int_equal(old.exists, 2);
	assert_int_equal(old.uidvalidity, before.uidvalidity);
	assert_int_equal(inbox.exists, 0);
	assert_int_not_equal(inbox.box, old.box);
	struct message *m = harness_message(&h, 10, (const char *[]){"ann@example.org", NULL});
	assert_int_equal(harness_accept(&h, m), HANDOFF_OK);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 1);
}

static void test_append(void **state)
{
	(void)state;
	static const char keywords[] = "$Junk\0work";
	struct mbox_row row;

	assert_int_equal(append("none", 0, NULL, 0), 0);
	assert_int_equal(
		append("INBOX", MSG_SEEN | MSG_FLAGGED | 1 << 20, keywords, sizeof(keywords)), 1);
	struct mbox_state s = harness_box(&h, ann, "INBOX");
	assert_int_equal(s.unseen, 0);
	assert_int_equal(harness_rows(&h, ann, s.box, 0, &row, 1), 1);
	assert_int_equal(row.flags, MSG_SEEN | MSG_FLAGGED);
	assert_int_equal(row.keywords, 3);
	assert_int_equal(row.internal_ms, 12345);
	assert_int_equal(row.internal_zone_min, -90);
	struct mbox_read_op op = {.account = ann, .name = BYTES_LIT("INBOX")};
	char names[64];
	assert_int_equal(harness_read(&h, &op.op, STORE_READ_MBOX_OPEN), 0);
	assert_int_equal(chain_read(&op.out, 0, names, sizeof(names)), sizeof(keywords));
	assert_memory_equal(names, keywords, sizeof(keywords));
	chain_free(&op.out);
}

static struct mbox_op flags_op(
	uint32_t box, const uint32_t *uids, uint32_t n, enum flags_mode mode, uint32_t flags)
{
	struct mbox_op op = {.account = ann,
		.box = box,
		.uids = uids,
		.uid_count = n,
		.mode = (uint8_t)mode,
		.flags = flags};

	return op;
}

static void test_flags_and_changes_since(void **state)
{
	(void)state;
	static const uint32_t some[] = {2, 4, 9}, one[] = {2};
	struct mbox_row rows[8];

	for (int i = 0; i < 5; i++)
		append("INBOX", 0, NULL, 0);
	struct mbox_state s = harness_box(&h, ann, "INBOX");
	struct mbox_op op = flags_op(s.box, some, 3, FLAGS_ADD, MSG_SEEN | MSG_DELETED);
	assert_int_equal(harness_write(&h, &op.op, STORE_FLAGS), 0);
	assert_int_equal(op.changed, 2);
	assert_true(op.modseq > s.highestmodseq);
	assert_int_equal(harness_rows(&h, ann, s.box, s.highestmodseq, rows, 8), 2);
	assert_int_equal(rows[0].uid, 2);
	assert_int_equal(rows[1].uid, 4);
	struct mbox_state t = harness_box(&h, ann, "INBOX");
	assert_int_equal(t.unseen, 3);
	assert_int_equal(t.deleted, 2);
	assert_true(t.highestmodseq == op.modseq);
	/* Again: nothing changes, nothing is numbered. */
	op = flags_op(s.box, some, 3, FLAGS_ADD, MSG_SEEN);
	assert_int_equal(harness_write(&h, &op.op, STORE_FLAGS), 0);
	assert_int_equal(op.changed, 0);
	op = flags_op(s.box, one, 1, FLAGS_REPLACE, MSG_DRAFT);
	op.keywords = words("x", 2);
	assert_int_equal(harness_write(&h, &op.op, STORE_FLAGS), 0);
	assert_int_equal(harness_rows(&h, ann, s.box, t.highestmodseq, rows, 8), 1);
	assert_int_equal(rows[0].flags, MSG_DRAFT);
	assert_int_equal(rows[0].keywords, 1);
	assert_int_equal(harness_box(&h, ann, "INBOX").unseen, 4);
	assert_int_equal(harness_rows(&h, ann, s.box, 0, rows, 8), 5);
}

static void test_keyword_table_is_bounded(void **state)
{
	(void)state;
	static const uint32_t one[] = {1};

	append("INBOX", 0, NULL, 0);
	uint32_t box = harness_box(&h, ann, "INBOX").box;
	for (int i = 0; i < 40; i++) {
		char word[16];
		int n = snprintf(word, sizeof(word), "kw%d", i);
		struct mbox_op op = flags_op(box, one, 1, FLAGS_ADD, 0);
		op.keywords = words(word, (size_t)n + 1);
		assert_int_equal(harness_write(&h, &op.op, STORE_FLAGS), 0);
		assert_int_equal(op.changed, i < MBOX_KEYWORDS_MAX);
	}
}

static void test_copy_and_expunge_count_references(void **state)
{
	(void)state;
	static const uint32_t all[] = {1, 2, 3};
	static const char keyword[] = "b";
	struct mbox_row rows[4];

	assert_int_equal(create("to"), 0);
	assert_int_equal(append("to", 0, "a", 2), 1);
	append("INBOX", MSG_SEEN, keyword, sizeof(keyword));
	append("INBOX", 0, NULL, 0);
	uint32_t inbox = harness_box(&h, ann, "INBOX").box;
	struct mbox_op op = {.account = ann,
		.box = inbox,
		.uids = all,
		.uid_count = 3,
		.target = BYTES_LIT("none")};
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), -ENOENT);
	op.target = BYTES_LIT("to");
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
	assert_int_equal(op.changed, 2);
	assert_int_equal(op.target_first_uid, 2);
	struct mbox_state to = harness_box(&h, ann, "to");
	assert_int_equal(to.exists, 3);
	assert_int_equal(harness_rows(&h, ann, to.box, 0, rows, 4), 3);
	assert_int_equal(rows[1].flags, MSG_SEEN);
	assert_int_equal(rows[1].keywords, 2); /* "b" is the second word there */
	uint64_t blob = rows[1].blob;
	op = (struct mbox_op){.account = ann, .box = inbox, .uids = all, .uid_count = 3};
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	assert_int_equal(op.changed, 2);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 0);
	assert_int_equal(harness_box(&h, ann, "INBOX").bytes, 0);
	assert_int_equal(harness_box(&h, ann, "INBOX").uidnext, 3);
	struct body_read_op b = {.blob = blob, .max = 10};
	assert_int_equal(harness_read(&h, &b.op, STORE_READ_BODY), 0);
	chain_free(&b.out);
	op.box = to.box;
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), 0);
	/* The second step of the expunge. */
	for (int i = 0; i < 500 && harness_read(&h, &b.op, STORE_READ_BODY) == 0; i++) {
		chain_free(&b.out);
		usleep(10000);
	}
	assert_int_equal(b.op.status, -ENOENT);
	op.box = 4711;
	assert_int_equal(harness_write(&h, &op.op, STORE_EXPUNGE), -ENOENT);
}

static void test_copy_into_itself(void **state)
{
	(void)state;
	static const uint32_t one[] = {1};

	append("INBOX", 0, NULL, 0);
	uint32_t inbox = harness_box(&h, ann, "INBOX").box;
	struct mbox_op op = {.account = ann,
		.box = inbox,
		.uids = one,
		.uid_count = 1,
		.target = BYTES_LIT("inbox")};
	assert_int_equal(harness_write(&h, &op.op, STORE_COPY), 0);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 2);
}

static void test_move_has_each_message_once(void **state)
{
	(void)state;
	static const uint32_t all[] = {1, 2};
	struct mbox_row rows[4];

	assert_int_equal(create("to"), 0);
	append("INBOX", MSG_SEEN, NULL, 0);
	append("INBOX", 0, NULL, 0);
	uint32_t inbox = harness_box(&h, ann, "INBOX").box;
	struct mbox_op op = {.account = ann,
		.box = inbox,
		.uids = all,
		.uid_count = 2,
		.target = BYTES_LIT("none")};
	assert_int_equal(harness_write(&h, &op.op, STORE_TRANSFER), -ENOENT);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 2);
	op.target = BYTES_LIT("to");
	assert_int_equal(harness_write(&h, &op.op, STORE_TRANSFER), 0);
	assert_int_equal(op.changed, 2);
	assert_int_equal(op.target_first_uid, 1);
	assert_int_equal(harness_box(&h, ann, "INBOX").exists, 0);
	struct mbox_state to = harness_box(&h, ann, "to");
	assert_int_equal(to.exists, 2);
	assert_int_equal(harness_rows(&h, ann, to.box, 0, rows, 4), 2);
	assert_int_equal(rows[0].flags, MSG_SEEN);
	/* into itself: new UIDs, in place of the old ones */
	op.box = to.box;
	assert_int_equal(harness_write(&h, &op.op, STORE_TRANSFER), 0);
	assert_int_equal(harness_rows(&h, ann, to.box, 0, rows, 4), 2);
	assert_int_equal(rows[0].uid, 3);
	assert_int_equal(harness_box(&h, ann, "to").exists, 2);
}

static void test_credentials_and_list_of_accounts(void **state)
{
	(void)state;
	struct credentials_op c = {.address = BYTES_LIT("ANN@example.org")};
	struct account_op a = {.action = ACCOUNT_PASSWORD,
		.address = BYTES_LIT("ann@example.org"),
		.hash = BYTES_LIT("$y$other")};
	char text[256];

	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), 0);
	assert_int_equal(c.account, ann);
	assert_int_equal(harness_write(&h, &a.op, STORE_ACCOUNT), 0);
	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), 0);
	assert_string_equal(c.hash, "$y$other");
	c.address = BYTES_LIT("none@example.org");
	assert_int_equal(harness_read(&h, &c.op, STORE_READ_CREDENTIALS), -ENOENT);
	a = (struct account_op){
		.action = ACCOUNT_ADD, .address = BYTES_LIT("no-domain"), .hash = BYTES_LIT("x")};
	assert_int_equal(harness_write(&h, &a.op, STORE_ACCOUNT), -EINVAL);
	append("INBOX", 0, NULL, 0);
	struct accounts_list_op l = {0};
	assert_int_equal(harness_read(&h, &l.op, STORE_READ_ACCOUNTS), 0);
	assert_true(l.end);
	size_t n = chain_read(&l.out, 0, text, sizeof(text));
	chain_free(&l.out);
	text[n] = '\0';
	assert_string_equal(text, "{\"account\":1,\"address\":\"ann@example.org\",\"messages\":1,"
				  "\"bytes\":1033,"
				  "\"quota_bytes\":0,\"quota_messages\":0,\"disabled\":false}\n");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_names),
		T(test_child_collision_renames_nothing),
		T(test_new_mailbox_has_new_uidvalidity),
		T(test_rename_of_inbox_leaves_an_empty_one),
		T(test_append),
		T(test_flags_and_changes_since),
		T(test_keyword_table_is_bounded),
		T(test_copy_and_expunge_count_references),
		T(test_copy_into_itself),
		T(test_move_has_each_message_once),
		T(test_credentials_and_list_of_accounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
