/* SPDX-License-Identifier: BSD-3-Clause
 * LIST and LSUB, with special uses (RFC 6154).  OWNER: one core's thread. */
#include "store/imap/imap_priv.h"

enum list_option { LIST_SUBSCRIBED = 1, LIST_SPECIAL = 2, LIST_RETURN_SUBSCRIBED = 4 };

struct list_word {
	const char *name;
	uint8_t option;
};

/* ---- special uses ---- */

static const char *const special_names[SPECIAL_N] = {
	[SPECIAL_NONE] = "",
	[SPECIAL_ALL] = "\\All",
	[SPECIAL_ARCHIVE] = "\\Archive",
	[SPECIAL_DRAFTS] = "\\Drafts",
	[SPECIAL_FLAGGED] = "\\Flagged",
	[SPECIAL_JUNK] = "\\Junk",
	[SPECIAL_SENT] = "\\Sent",
	[SPECIAL_TRASH] = "\\Trash",
};

const char *imap_special_name(uint8_t special)
{
	return special < SPECIAL_N ? special_names[special] : "";
}

uint8_t imap_special_of(struct bytes name)
{
	for (uint8_t i = SPECIAL_NONE + 1; i < SPECIAL_N; i++) {
		if (bytes_ieq(name, bytes_str(special_names[i] + 1)))
			return i;
	}
	return SPECIAL_NONE;
}

/* ---- the list ---- */

/* State of the command, in its chunk. */
struct listing {
	bool lsub, end;
	uint8_t options; /* enum list_option */
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

static bool list_wants(const struct listing *l, struct bytes name, bool sub, uint8_t special)
{
	if ((l->lsub || l->options & LIST_SUBSCRIBED) && !sub)
		return false;
	if (l->options & LIST_SPECIAL && special == SPECIAL_NONE)
		return false;
	return imap_name_match(name, bytes_make(l->pattern, l->pattern_n));
}

/* RFC 6154 2: special uses are said to whoever asks for the list.  sub: told in LIST when asked
 * for. */
static void list_name(struct imap_session *s, const struct listing *l, struct bytes name, bool sub,
	uint8_t special)
{
	const char *use = l->lsub ? "" : imap_special_name(special);
	const char *subscribed = "";

	if (!list_wants(l, name, sub, special))
		return;
	if (sub && l->options & (LIST_SUBSCRIBED | LIST_RETURN_SUBSCRIBED))
		subscribed = use[0] ? " \\Subscribed" : "\\Subscribed";
	access_out_printf(
		imap_out(s), "* %s (%s%s) \"/\" ", l->lsub ? "LSUB" : "LIST", use, subscribed);
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
	list_name(s, l, name, c->data[l->chunk_at + 2], c->data[l->chunk_at + 3]);
	memcpy(l->last, name.p, n);
	l->last_n = n;
	l->chunk_at += (4u + n + 3u) & ~3u;
	return true;
}

static void list_taken(struct imap_session *s);

static void list_step(struct imap_session *s)
{
	struct listing *l = listing(s);

	/* A name is compared with each octet of the pattern. */
	unsigned count = IMAP_ROWS_PER_STEP / 16 / (1u + l->pattern_n / 32u);
	s->cost = IMAP_RUN_COST / 4;
	for (unsigned i = 0; i < count && imap_room(s); i++) {
		if (!l->names.head)
			break;
		if (!list_record(s, l, l->names.head)) {
			chunk_put(chain_pop(&l->names));
			l->chunk_at = 0;
		}
	}
	s->names_octets = l->names.bytes;
	if (l->names.head)
		return;
	if (l->end) {
		imap_finish(s, "OK done");
		return;
	}
	if (!imap_may_grow(s, ACCESS_USE_OUT)) {
		imap_retry(s);
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
	l->options = s->special;
	buf_init(&b, l->pattern, sizeof(l->pattern));
	buf_put(&b, reference);
	buf_put(&b, pattern);
	imap_inbox_fold(l->pattern, (uint16_t)b.n);
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

/* "(A B)": each known word sets its bit. */
static bool list_options(
	struct imap_parse *p, const struct list_word *words, unsigned n, uint8_t *options)
{
	if (!imap_char(p, '('))
		return false;
	while (!imap_char(p, ')')) {
		struct bytes word = imap_atom(p);
		unsigned i = 0;
		while (i < n && !bytes_ieq(word, bytes_str(words[i].name)))
			i++;
		if (i == n)
			return false;
		*options |= words[i].option;
		imap_space(p);
	}
	return true;
}

/* RFC 6154 and what it needs of RFC 5258: selection before the reference, RETURN at the end. */
static bool list_args(struct imap_session *s, struct imap_parse *p, bool lsub,
	struct bytes *reference, struct bytes *pattern)
{
	static const struct list_word select[] = {
		{"SUBSCRIBED",  LIST_SUBSCRIBED},
                {"SPECIAL-USE", LIST_SPECIAL   }
        };
	static const struct list_word give[] = {
		{"SUBSCRIBED",  LIST_RETURN_SUBSCRIBED},
                {"SPECIAL-USE", 0                     }
        };

	s->special = 0;
	if (!imap_space(p))
		return false;
	if (!lsub && imap_peek(p) == '(' &&
		(!list_options(p, select, ARRAY_LEN(select), &s->special) || !imap_space(p)))
		return false;
	if (!imap_astring(p, reference) || !imap_space(p) || !imap_list_mailbox(p, pattern))
		return false;
	if (!lsub && imap_space(p) &&
		(!imap_word(p, "RETURN") || !imap_space(p) ||
			!list_options(p, give, ARRAY_LEN(give), &s->special)))
		return false;
	return imap_end(p);
}

static void list_command(struct imap_session *s, struct imap_parse *p, bool lsub)
{
	struct bytes reference, pattern;

	if (!list_args(s, p, lsub, &reference, &pattern)) {
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
