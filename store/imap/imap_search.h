/* SPDX-License-Identifier: BSD-3-Clause
 * SEARCH: a program of nodes, evaluated with what is known of a message; "unknown" asks for more:
 * its row, its header, its body.  OWNER: one core's thread. */
#pragma once
#include "smtp/mime.h"
#include "store/imap/imap_fetch.h"

#define SEARCH_NODES_MAX    48  /* keys of a search; chosen */
#define SEARCH_DEPTH_MAX    16  /* nesting of NOT, OR and parentheses; chosen */
#define SEARCH_MATCHERS_MAX 8   /* BODY and TEXT keys; chosen */
#define SEARCH_NEEDLE_MAX   255 /* octets of their strings; chosen */
#define SEARCH_RANGES_MAX   480 /* ranges of all sets together; chosen */

enum search_kind {
	SEARCH_AND,
	SEARCH_OR,
	SEARCH_NOT,
	SEARCH_ALL,
	SEARCH_FLAG,
	SEARCH_KEYWORD,
	SEARCH_SET,
	SEARCH_UID,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_BEFORE,
	SEARCH_ON,
	SEARCH_SINCE,
	SEARCH_SENTBEFORE,
	SEARCH_SENTON,
	SEARCH_SENTSINCE,
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT,
};

/* What is known of the message under way; each level includes those before. */
enum search_level { LEVEL_INDEX, LEVEL_ROW, LEVEL_HEADER, LEVEL_BODY };

struct search_node {
	uint8_t kind;     /* enum search_kind */
	uint8_t matcher;  /* BODY, TEXT */
	uint16_t next;    /* sibling in the list of an AND or OR; 0: last */
	uint16_t child;   /* first of the list; NOT: its key */
	uint16_t range_n; /* SET, UID */
	uint32_t range_at;
	uint32_t bits;            /* FLAG, KEYWORD */
	int64_t number;           /* size, or days since 1970 */
	struct bytes field, text; /* in the command's memory */
};

struct search_range {
	uint32_t lo, hi;
};

/* Finds a string in octets that come in pieces, without regard to the case of ASCII letters: never
 * looks at an octet twice (Knuth, Morris, Pratt). */
struct matcher {
	struct bytes needle; /* 1..SEARCH_NEEDLE_MAX octets */
	uint8_t at;          /* octets matched so far */
	bool found;
	uint8_t back[SEARCH_NEEDLE_MAX + 1];
};

void matcher_init(struct matcher *m, struct bytes needle);
void matcher_reset(struct matcher *m);
void matcher_feed(struct matcher *m, struct bytes data);

struct search {
	uint16_t node_count;
	uint16_t matcher_count;
	uint16_t range_count;
	uint8_t level;
	bool sent; /* "* SEARCH" is out */
	uint32_t i;
	uint64_t offset;
	struct mbox_row row;
	struct chunk *ranges;   /* struct search_range */
	struct chunk *matchers; /* struct matcher */
	struct scan_space *space;
	const char *error;
	struct search_node nodes[SEARCH_NODES_MAX];
};
static_assert(sizeof(struct search) <= CHUNK_DATA, "search state is a chunk");
static_assert(sizeof(struct matcher) * SEARCH_MATCHERS_MAX <= CHUNK_DATA, "matchers are a chunk");
static_assert(sizeof(struct search_range) * SEARCH_RANGES_MAX <= CHUNK_DATA, "ranges are a chunk");

static inline struct search *search_of(struct imap_session *s)
{
	return (struct search *)(void *)s->work->data;
}
static inline struct matcher *search_matcher(const struct search *q, unsigned i)
{
	return (struct matcher *)(void *)q->matchers->data + i;
}
static inline struct search_range *search_range_at(const struct search *q, unsigned i)
{
	return (struct search_range *)(void *)q->ranges->data + i;
}

/* imap_search_parse.c: 0; -EINVAL syntax; -E2BIG beyond a limit; -ENOTSUP charset. */
int search_parse(struct imap_session *s, struct imap_parse *p, struct search *q);
/* imap_search_match.c: 1 yes, 0 no, -1 not known at this level. */
int search_eval(struct imap_session *s, const struct search *q, unsigned node);
