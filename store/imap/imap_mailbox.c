/* SPDX-License-Identifier: BSD-3-Clause
 * Commands about mailboxes as such: CREATE, DELETE, RENAME, SUBSCRIBE, STATUS.
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
void imap_inbox_fold(char *name, uint16_t n)
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
	imap_inbox_fold(name, *n_r);
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
		.subscribe = s->subscribe,
		.special = kind == STORE_MBOX_CREATE && name.n == s->name_n ? s->special : 0};
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

/* RFC 6154 5: (USE (\\Attribute)).  A mailbox has one use here: further ones are refused. */
static bool create_use(struct imap_session *s, struct imap_parse *p)
{
	struct bytes name;

	if (!imap_space(p) || !imap_char(p, '(') || !imap_word(p, "USE") || !imap_space(p) ||
		!imap_char(p, '(') || !imap_char(p, '\\')) {
		imap_bad(s, "the options of CREATE are not understood");
		return false;
	}
	name = imap_atom(p);
	s->special = imap_special_of(name);
	if (imap_peek(p) == ' ' || s->special == SPECIAL_NONE || s->special == SPECIAL_ALL ||
		s->special == SPECIAL_FLAGGED) {
		imap_finish(s, "NO [USEATTR] that use is not possible here");
		return false;
	}
	if (imap_char(p, ')') && imap_char(p, ')'))
		return true;
	imap_bad(s, "the options of CREATE are not understood");
	return false;
}

void imap_create(struct imap_session *s, struct imap_parse *p)
{
	s->name2_n = 0;
	s->special = SPECIAL_NONE;
	if (!imap_mailbox_arg(s, p, s->name, &s->name_n))
		return;
	if (!imap_end(p) && !create_use(s, p))
		return;
	if (!imap_args_end(s, p))
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

/* It may be about thousands of names: as with UIDs, few at once, and those of several accounts. */
static void rename_step(struct imap_session *s)
{
	if (imap_uids_get(s))
		named_submit(s, STORE_MBOX_RENAME, name_of(s), named_done);
}

void imap_rename(struct imap_session *s, struct imap_parse *p)
{
	if (imap_mailbox_arg(s, p, s->name, &s->name_n) &&
		imap_mailbox_arg(s, p, s->name2, &s->name2_n) && imap_args_end(s, p))
		s->step = rename_step;
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
	STATUS_SIZE, /* RFC 8438 */
	STATUS_N
};

static const char *const status_items[STATUS_N] = {
	"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE"};

static void status_done(struct imap_session *s)
{
	const struct mbox_state *st = &s->u.mbox.state;
	const uint64_t values[STATUS_N] = {
		st->exists, 0, st->uidnext, st->uidvalidity, st->unseen, st->bytes};
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
		access_out_printf(imap_out(s), "%s%s %llu", before, status_items[i],
			(unsigned long long)values[i]);
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
