/* SPDX-License-Identifier: BSD-3-Clause
 * `top`: what it knows (fetched from the daemon), a page of lines made of it, and the terminal. The
 * first two know nothing of the terminal, so --once and the tests use them as they are. */
#pragma once
#include "store/ctl/ctl.h"

#define PAGE_COLUMNS 400 /* octets of a line at most; chosen */
#define PAGE_LINES   600 /* lines of a page at most; chosen */
#define TOP_ROWS     200 /* rows asked for of a list */

enum top_view {
	TOP_OVERVIEW,
	TOP_QUEUE,
	TOP_CORES,
	TOP_RINGS,
	TOP_TCP,
	TOP_STORE,
	TOP_WHY,
	TOP_VIEW_N
};

enum page_look {
	LOOK_PLAIN,
	LOOK_HEAD,  /* of a table */
	LOOK_TITLE, /* top and bottom line */
	LOOK_BAD,   /* something is wrong */
	LOOK_ROW,   /* can be selected */
};

struct page {
	char (*line)[PAGE_COLUMNS]; /* PAGE_LINES of them */
	uint8_t look[PAGE_LINES];   /* enum page_look */
	unsigned n;
};

struct top {
	struct ctl *ctl;
	enum top_view view;
	unsigned selected, rows; /* of the LOOK_ROW lines */
	unsigned scroll;         /* lines skipped on a page without them */
	unsigned sort;           /* of the view, counted up by a key */
	bool connected, frozen, help;
	bool detail;          /* the selected row's own page */
	char detail_key[300]; /* domain, or connection */
	uint64_t interval_ms, fetched_ms, latency_ms;
	/* what the daemon said last; NULL: nothing yet */
	json_t *status, *net, *list, *detail_list;
};

/* ---- top_fetch.c ---- */

/* Ask for what the view shows.  False: ctl->error says why; what was known stays. */
bool top_fetch(struct top *t);
void top_forget(struct top *t);
/* All that is known, for --json; the caller's reference. */
json_t *top_json(const struct top *t);

/* ---- top_render.c ---- */

/* Make the page; t->rows and t->selected are adjusted to what there is. */
void top_render(struct top *t, struct page *p);
const char *top_view_name(enum top_view view);
/* TOP_VIEW_N: no such name. */
enum top_view top_view_find(const char *name);
/* What names the selected row: a domain, a connection; "" when there is none. */
const char *top_selected_key(const struct top *t);
/* Names of the sort orders of the view: the current one. */
const char *top_sort_name(const struct top *t);

void page_add(struct page *p, enum page_look look, const char *format, ...) PRINTF(3, 4);
