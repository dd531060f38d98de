/* SPDX-License-Identifier: BSD-3-Clause
 * `top` on a terminal, and once.  The daemon may go and come back: what was known stays on the
 * screen with a line that says so. */
#include <curses.h>
#include <unistd.h>
#include "store/ctl/top.h"
#include "dataplane/base/clock.h"

/* curses defines these names as well */
#undef OK

#define INTERVAL_MS 2000
#define TICK_MS     100 /* how long a key is waited for */
#define TIMEOUT_S   2   /* of the daemon's answer: the screen stands still meanwhile */
#define KEY_ESC     27

static struct page page;

static void look_on(enum page_look look, bool chosen)
{
	attrset(look == LOOK_HEAD    ? A_BOLD | A_UNDERLINE
		: look == LOOK_TITLE ? A_REVERSE
		: look == LOOK_BAD   ? A_BOLD | (has_colors() ? COLOR_PAIR(1) : 0)
				     : A_NORMAL);
	if (chosen)
		attron(A_REVERSE);
}

static void draw_line(unsigned row, unsigned i, bool chosen)
{
	int columns = getmaxx(stdscr);

	look_on(page.look[i], chosen);
	move((int)row, 0);
	addnstr(page.line[i], columns);
	if (page.look[i] == LOOK_TITLE || chosen) {
		for (int x = getcurx(stdscr); x > 0 && x < columns && getcury(stdscr) == (int)row;
			x++)
			addch(' ');
	}
	attrset(A_NORMAL);
}

/* Lines that stay: above the first table, and the last one.  Between them what fits around the
 * selected row. */
static void draw(const struct top *t)
{
	int height = getmaxy(stdscr);
	unsigned room = height > 1 ? (unsigned)height - 1 : 1, head = 0, chosen = 0, seen = 0;

	while (head < page.n && page.look[head] != LOOK_HEAD && head < 8)
		head++;
	for (unsigned i = 0; i < page.n; i++) {
		if (page.look[i] == LOOK_ROW && seen++ == t->selected)
			chosen = i;
	}
	/* Of those behind the head. */
	unsigned skip = chosen + 1 > room ? chosen + 1 - room : 0;
	if (t->rows == 0)
		skip = MIN(t->scroll, page.n > room + 1 ? page.n - 1 - room : 0);
	erase();
	for (unsigned i = 0, row = 0; i + 1 < page.n && row < room; i++) {
		if (i >= MIN(head, room / 2) && skip) {
			skip--;
			continue;
		}
		draw_line(row++, i, t->rows && i == chosen);
	}
	if (page.n && height > 1)
		draw_line((unsigned)height - 1, page.n - 1, false);
	refresh();
}

/* ---- keys ---- */

static void go_to(struct top *t, enum top_view view)
{
	t->view = view;
	t->selected = t->sort = t->scroll = 0;
	t->detail = t->help = false;
	/* The old view's list is not this one's. */
	json_decref(t->list);
	t->list = NULL;
}

static void enter(struct top *t)
{
	const char *key = top_selected_key(t);

	if (t->detail || !key[0])
		return;
	snprintf(t->detail_key, sizeof(t->detail_key), "%s", key);
	t->detail = true;
	t->scroll = 0;
}

static void back(struct top *t)
{
	t->detail = t->help = false;
}

static void on_arrow(struct top *t, bool down)
{
	unsigned *at = t->rows ? &t->selected : &t->scroll;
	unsigned end = t->rows ? t->rows : page.n;

	if (down && *at + 1 < end)
		(*at)++;
	else if (!down && *at > 0)
		(*at)--;
}

/* Returns false at the end.  *refetch_r: the page needs other data. */
static bool on_key(struct top *t, int key, bool *refetch_r)
{
	*refetch_r = true;
	if (key >= '1' && key < '1' + TOP_VIEW_N) {
		go_to(t, (enum top_view)(key - '1'));
		return true;
	}
	switch (key) {
	case 'q':
	case 'Q':
		return false;
	case '\t':
		go_to(t, (enum top_view)((t->view + 1) % TOP_VIEW_N));
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
		enter(t);
		break;
	case KEY_ESC:
	case KEY_BACKSPACE:
	case 127:
		back(t);
		break;
	case 's':
		t->sort++;
		break;
	case 'f':
	case ' ':
		t->frozen = !t->frozen;
		break;
	case 'r':
		break;
	default:
		*refetch_r = false;
		if (key == KEY_UP || key == KEY_DOWN)
			on_arrow(t, key == KEY_DOWN);
		else if (key == '+' && t->interval_ms < 60000)
			t->interval_ms += 1000;
		else if (key == '-' && t->interval_ms > 1000)
			t->interval_ms -= 1000;
		else if (key == 'h' || key == '?')
			t->help = !t->help;
	}
	return true;
}

static bool terminal_begin(void)
{
	set_escdelay(50);
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (!screen)
		return false;
	set_term(screen);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
	}
	timeout(TICK_MS);
	return true;
}

static int run_live(struct top *t)
{
	uint64_t due_us = 0;
	bool go_on = true, refetch = false;

	if (!terminal_begin()) {
		fprintf(stderr, "bypostctl: the terminal (TERM) cannot be used; try --once\n");
		return CTL_ERROR;
	}
	while (go_on) {
		uint64_t now = clock_mono_us();
		if (refetch || (now >= due_us && !t->frozen)) {
			top_fetch(t);
			due_us = clock_mono_us() + t->interval_ms * 1000;
		}
		top_render(t, &page);
		draw(t);
		int key = getch();
		refetch = false;
		if (key != ERR && key != KEY_RESIZE)
			go_on = on_key(t, key, &refetch);
	}
	endwin();
	return CTL_OK;
}

/* ---- once ---- */

static void print_json(const struct top *t)
{
	json_t *o = top_json(t);

	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(o);
}

static int run_once(struct top *t)
{
	if (!top_fetch(t)) {
		fprintf(stderr, "bypostctl: %s: %s\n", t->ctl->socket, t->ctl->error);
		return CTL_ERROR;
	}
	if (t->ctl->json) {
		print_json(t);
		return CTL_OK;
	}
	top_render(t, &page);
	for (unsigned i = 0; i + 1 < page.n; i++)
		puts(page.line[i]);
	return CTL_OK;
}

/* JSON without --once: a line at each interval, until the daemon or the reader goes. */
static int run_json(struct top *t)
{
	while (top_fetch(t)) {
		print_json(t);
		if (fflush(stdout) != 0)
			return CTL_ERROR;
		usleep((useconds_t)t->interval_ms * 1000);
	}
	fprintf(stderr, "bypostctl: %s: %s\n", t->ctl->socket, t->ctl->error);
	return CTL_ERROR;
}

int ctl_top(struct ctl *c, char **args, int n)
{
	static struct top t;
	enum top_view view = c->view ? top_view_find(c->view) : TOP_OVERVIEW;

	(void)args;
	(void)n;
	if (view == TOP_VIEW_N) {
		fprintf(stderr,
			"bypostctl: --view is one of overview, queue, cores, rings, tcp, store, "
			"why\n");
		return CTL_USAGE;
	}
	page.line = calloc(PAGE_LINES, sizeof(*page.line));
	if (!page.line)
		return CTL_ERROR;
	c->quiet = true;
	c->timeout_s = TIMEOUT_S;
	t = (struct top){.ctl = c,
		.view = view,
		.interval_ms = c->given & CTL_OPT_INTERVAL ? c->interval * 1000 : INTERVAL_MS};
	bool once = c->given & CTL_OPT_ONCE || (!c->json && !isatty(STDOUT_FILENO));
	int exit = once ? run_once(&t) : c->json ? run_json(&t) : run_live(&t);
	top_forget(&t);
	free(page.line);
	return exit;
}
