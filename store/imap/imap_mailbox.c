/* SPDX-License-Identifier: BSD-3-Clause
 * Commands about mailboxes as such: CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, LIST, LSUB.
 * OWNER: one core's thread. */
#include <errno.h>
#include "store/imap/imap_priv.h"

/* ---- names ---- */

static bool name_is_valid(struct bytes name)
{
	if (name.n == 0 || name.p[0] == '/' || name.p[name.n - 1] == '/')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '*' || name.p[i] == '%' ||
			(name.p[i] == '/' && name.p[i + 1] == '/'))
			return false;
	}
	return true;
}

/* "inbox" in any case is INBOX; what lies under it keeps its own case. */
static void inbox_fold(char *name, uint16_t n)
{
	if (n >= 5 && bytes_ieq(bytes_make(name, 5), BYTES_LIT("INBOX")) &&
		(n == 5 || name[5] == '/'))
		memcpy(name, "INBOX", 5);
}

bool imap_mailbox_arg(struct imap_session *s, struct imap_parse *p, char *name, uint16_t *n_r)
{
	struct bytes text;
	struct buf b;

	if (!imap_space(p) || !imap_astring(p, &text)) {
		imap_bad(s, "a mailbox name is needed");
		return false;
	}
	/* CREATE "a/" announces that there will be names below; nothing else to do about it. */
	if (text.n > 1 && text.p[text.n - 1] == '/')
		text.n--;
	buf_init(&b, name, MBOX_NAME_MAX);
	if (imap_name_decode(text, &b) < 0 || !name_is_valid(buf_view(&b))) {
		imap_finish(s, "NO [CANNOT] not a valid mailbox name");
		return false;
	}
	*n_r = (uint16_t)b.n;
	inbox_fold(name, *n_r);
	return true;
}

static struct bytes name_of(const struct imap_session *s)
{
	return bytes_make(s->name, s->name_n);
}

/* ---- CREATE, DELETE, RENAME, SUBSCRIBE ---- */

static void named_done(struct imap_session *s)
{
	imap_finish(s, s->u.op.status ? imap_error_text(s->u.op.status) : "OK done");
}

static void named_submit(struct imap_session *s, uint16_t kind, struct bytes name, imap_step then)
{
	struct bytes new_name = bytes_make(s->name2, s->name2_n);

	s->u.name = (struct mbox_name_op){.account = s->account,
		.name = name,
		.new_name = new_name,
		.subscribe = s->subscribe};
	imap_submit(s, ACCESS_WRITER, kind, then);
}

static bool one_name(struct imap_session *s, struct imap_parse *p)
{
	s->name2_n = 0;
	return imap_mailbox_arg(s, p, s->name, &s->name_n) && imap_args_end(s, p);
}

/* Superior names are created one after the other (RFC 3501 6.3.3); `to` is how far we are. */
static void create_step(struct imap_session *s)
{
	ptrdiff_t slash = bytes_find(name_of(s), '/', s->to);

	if (slash < 0) {
		named_submit(s, STORE_MBOX_CREATE, name_of(s), named_done);
		return;
	}
	s->to = (uint32_t)slash + 1;
	named_submit(s, STORE_MBOX_CREATE, bytes_first(name_of(s), (size_t)slash), create_step);
}

void imap_create(struct imap_session *s, struct imap_parse *p)
{
	if (!one_name(s, p))
		return;
	s->to = 0;
	s->step = create_step;
}

static void delete_checked(struct imap_session *s)
{
	struct chain *out = &s->u.list.out;
	const struct chunk *c = out->head;
	bool children = false;
	uint16_t n;

	if (s->u.op.status == 0 && c && c->n >= 4) {
		memcpy(&n, c->data, sizeof(n));
		struct bytes name = bytes_make(c->data + 4, MIN((uint32_t)n, c->n - 4));
		children = name.n > s->name2_n && memcmp(name.p, s->name2, s->name2_n) == 0;
	}
	int err = s->u.op.status;
	chain_free(out);
	if (err)
		imap_finish(s, imap_error_text(err));
	else if (children)
		imap_finish(s, "NO [HASCHILDREN] delete the mailboxes below it first");
	else
		named_submit(s, STORE_MBOX_DELETE, name_of(s), named_done);
}

void imap_delete(struct imap_session *s, struct imap_parse *p)
{
	if (!one_name(s, p))
		return;
	if (bytes_eq(name_of(s), BYTES_LIT("INBOX")) || s->name_n + 1u > sizeof(s->name2)) {
		imap_finish(s, "NO [CANNOT] it cannot be deleted");
		return;
	}
	/* The first name behind "name/" tells whether something lies below. */
	memcpy(s->name2, s->name, s->name_n);
	s->name2[s->name_n] = '/';
	s->name2_n = (uint16_t)(s->name_n + 1);
	s->u.list = (struct mbox_list_op){
		.account = s->account, .from = bytes_make(s->name2, s->name2_n)};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_LIST, delete_checked);
}

void imap_rename(struct imap_session *s, struct imap_parse *p)
{
	if (imap_mailbox_arg(s, p, s->name, &s->name_n) &&
		imap_mailbox_arg(s, p, s->name2, &s->name2_n) && imap_args_end(s, p))
		named_submit(s, STORE_MBOX_RENAME, name_of(s), named_done);
}

void imap_subscribe(struct imap_session *s, struct imap_parse *p)
{
	if (!one_name(s, p))
		return;
	s->subscribe = true;
	named_submit(s, STORE_MBOX_SUBSCRIBE, name_of(s), named_done);
}

void imap_unsubscribe(struct imap_session *s, struct imap_parse *p)
{
	if (!one_name(s, p))
		return;
	s->subscribe = false;
	named_submit(s, STORE_MBOX_SUBSCRIBE, name_of(s), named_done);
}

/* ---- STATUS ---- */

enum {
	STATUS_MESSAGES,
	STATUS_RECENT,
	STATUS_UIDNEXT,
	STATUS_UIDVALIDITY,
	STATUS_UNSEEN,
	STATUS_N
};

static const char *const status_items[STATUS_N] = {
	"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"};

static void status_done(struct imap_session *s)
{
	const struct mbox_state *st = &s->u.mbox.state;
	const uint32_t values[STATUS_N] = {st->exists, 0, st->uidnext, st->uidvalidity, st->unseen};
	const char *before = " (";

	chain_free(&s->u.mbox.out);
	if (s->u.op.status) {
		imap_finish(s, imap_error_text(s->u.op.status));
		return;
	}
	access_out_str(imap_out(s), "* STATUS ");
	imap_put_name(imap_out(s), name_of(s));
	for (unsigned i = 0; i < STATUS_N; i++) {
		if (!(s->to & 1u << i))
			continue;
		access_out_printf(imap_out(s), "%s%s %u", before, status_items[i], values[i]);
		before = " ";
	}
	access_out_str(imap_out(s), ")\r\n");
	imap_finish(s, "OK done");
}

static bool status_item(struct imap_session *s, struct imap_parse *p)
{
	struct bytes name = imap_atom(p);

	for (unsigned i = 0; i < STATUS_N; i++) {
		if (bytes_ieq(name, bytes_str(status_items[i]))) {
			s->to |= 1u << i;
			return true;
		}
	}
	return false;
}

static bool status_list(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_space(p) || !imap_char(p, '('))
		return false;
	do {
		if (!status_item(s, p))
			return false;
	} while (imap_space(p));
	return imap_char(p, ')') && imap_end(p);
}

void imap_status(struct imap_session *s, struct imap_parse *p)
{
	if (!imap_mailbox_arg(s, p, s->name, &s->name_n))
		return;
	s->to = 0;
	if (!status_list(s, p)) {
		imap_bad(s, "STATUS items are not understood");
		return;
	}
	s->u.mbox = (struct mbox_read_op){.account = s->account, .name = name_of(s)};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_OPEN, status_done);
}

/* ---- LIST and LSUB ---- */

/* State of the command, in its chunk. */
struct listing {
	bool lsub, end;
	uint16_t pattern_n, last_n;
	uint32_t chunk_at;
	struct chain names;
	char pattern[MBOX_NAME_MAX];
	char last[MBOX_NAME_MAX]; /* the name seen last, where the next slice begins */
};

static struct listing *listing(struct imap_session *s)
{
	return (struct listing *)(void *)s->work->data;
}

static void list_release(struct imap_session *s)
{
	chain_free(&listing(s)->names);
}

static void list_name(struct imap_session *s, const struct listing *l, struct bytes name, bool sub)
{
	if ((l->lsub && !sub) || !imap_name_match(name, bytes_make(l->pattern, l->pattern_n)))
		return;
	access_out_printf(imap_out(s), "* %s () \"/\" ", l->lsub ? "LSUB" : "LIST");
	imap_put_name(imap_out(s), name);
	access_out_str(imap_out(s), "\r\n");
}

/* One record; false: the chunk has no more. */
static bool list_record(struct imap_session *s, struct listing *l, const struct chunk *c)
{
	uint16_t n;

	if (l->chunk_at + 4 > c->n)
		return false;
	memcpy(&n, c->data + l->chunk_at, sizeof(n));
	if (n == 0 || n > MBOX_NAME_MAX || l->chunk_at + 4 + n > c->n)
		return false;
	struct bytes name = bytes_make(c->data + l->chunk_at + 4, n);
	list_name(s, l, name, c->data[l->chunk_at + 2]);
	memcpy(l->last, name.p, n);
	l->last_n = n;
	l->chunk_at += (4u + n + 3u) & ~3u;
	return true;
}

static void list_taken(struct imap_session *s);

static void list_step(struct imap_session *s)
{
	struct listing *l = listing(s);

	for (unsigned i = 0; i < IMAP_ROWS_PER_STEP / 16 && imap_room(s); i++) {
		if (!l->names.head)
			break;
		if (!list_record(s, l, l->names.head)) {
			chunk_put(chain_pop(&l->names));
			l->chunk_at = 0;
		}
	}
	if (l->names.head)
		return;
	if (l->end) {
		imap_finish(s, "OK done");
		return;
	}
	s->u.list = (struct mbox_list_op){
		.account = s->account, .from = bytes_make(l->last, l->last_n)};
	imap_submit(s, ACCESS_READER, STORE_READ_MBOX_LIST, list_taken);
}

static void list_taken(struct imap_session *s)
{
	struct listing *l = listing(s);

	if (s->u.op.status) {
		chain_free(&s->u.list.out);
		imap_finish(s, imap_error_text(s->u.op.status));
		return;
	}
	/* A slice without a record and without an end would be asked for forever. */
	l->end = s->u.list.end || !s->u.list.out.head;
	chain_join(&l->names, &s->u.list.out);
	s->step = list_step;
}

static void list_begin(struct imap_session *s)
{
	struct bytes reference = bytes_make(s->name, s->name_n);
	struct bytes pattern = bytes_make(s->name2, s->name2_n);
	struct buf b;

	if (!imap_work_get(s))
		return;
	struct listing *l = listing(s);
	s->release = list_release;
	l->lsub = s->subscribe;
	buf_init(&b, l->pattern, sizeof(l->pattern));
	buf_put(&b, reference);
	buf_put(&b, pattern);
	inbox_fold(l->pattern, (uint16_t)b.n);
	l->pattern_n = (uint16_t)b.n;
	l->end = b.overflow; /* no name is that long */
	s->step = list_step;
}

/* A reference or pattern: names with wildcards, nothing refused but bad encoding. */
static bool pattern_take(struct bytes text, char *out, uint16_t *n_r)
{
	struct buf b;

	buf_init(&b, out, MBOX_NAME_MAX);
	if (imap_name_decode(text, &b) < 0)
		return false;
	*n_r = (uint16_t)b.n;
	return true;
}

static void list_command(struct imap_session *s, struct imap_parse *p, bool lsub)
{
	struct bytes reference, pattern;

	if (!imap_space(p) || !imap_astring(p, &reference) || !imap_space(p) ||
		!imap_list_mailbox(p, &pattern) || !imap_end(p)) {
		imap_bad(s, "a reference and a pattern are needed");
		return;
	}
	if (pattern.n == 0) {
		/* RFC 3501 6.3.8: asks for the delimiter. */
		access_out_printf(
			imap_out(s), "* %s (\\Noselect) \"/\" \"\"\r\n", lsub ? "LSUB" : "LIST");
		imap_finish(s, "OK done");
		return;
	}
	if (!pattern_take(reference, s->name, &s->name_n) ||
		!pattern_take(pattern, s->name2, &s->name2_n)) {
		imap_finish(s, "OK done"); /* nothing has such a name */
		return;
	}
	s->subscribe = lsub;
	s->step = list_begin;
}

void imap_list(struct imap_session *s, struct imap_parse *p)
{
	list_command(s, p, false);
}

void imap_lsub(struct imap_session *s, struct imap_parse *p)
{
	list_command(s, p, true);
}
