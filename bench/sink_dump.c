/* SPDX-License-Identifier: BSD-3-Clause
 * Messages as files, in the form of smtp-sink's -d and -D.  What comes is written to a file of the
 * transaction, so that nothing unfinished is under the name that was asked for.  The files block
 * the engine's thread: a sink that dumps is for looking at mail, not for measuring. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "bench/sink_priv.h"

#define NAME_MAX_ (PATH_MAX - 32) /* octets of a path without what is put behind it */
#define TRIES     16              /* to find a name that is free */
#define PART      ".part"
#define COPY_STEP 65536

struct sink_dump {
	FILE *f;
	uint32_t number;
	bool headed; /* the sink's own header is complete */
	bool cr;     /* the last octet was one, and is not written yet */
	char name[NAME_MAX_], part[PATH_MAX];
};

static void complain(struct sink *s, const char *name)
{
	if (figure_get(&s->figures.undumped) == 0)
		fprintf(stderr, "bypost-bench: %s: %s\n", name, strerror(errno));
	figure_add(&s->figures.undumped, 1);
}

/* The folders on the way to a file. */
static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0777); /* if it cannot be made, then neither can the file */
		*slash = '/';
	}
}

/* As of now.  False: too long, or empty. */
static bool expand(const char *template, char *out, size_t cap)
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	return strftime(out, cap, template, &tm) > 0;
}

static bool open_new(const struct sink_conf *conf, struct sink_dump *d)
{
	if (!expand(conf->dump_each ? conf->dump_each : conf->dump_all, d->name, sizeof(d->name))) {
		errno = ENAMETOOLONG;
		return false;
	}
	make_folders(d->name);
	for (unsigned i = 0; i < TRIES && !d->f; i++) {
		if (getrandom(&d->number, sizeof(d->number), 0) < 0)
			return false;
		snprintf(d->part, sizeof(d->part), "%s.%08x" PART, d->name, d->number);
		d->f = fopen(d->part, "w+xe");
		if (!d->f && errno != EEXIST)
			return false;
	}
	return d->f != NULL;
}

static const char *protocol(const struct sink_conn *c)
{
	return sink_of(c)->conf.lmtp ? "LMTP" : c->session.esmtp ? "ESMTP" : "SMTP";
}

static void put(struct sink_dump *d, struct bytes octets)
{
	fwrite(octets.p, 1, octets.n, d->f);
}

static void put_path(struct sink_dump *d, const char *name, struct bytes address)
{
	fprintf(d->f, "%s: <", name);
	put(d, address);
	fputs(">\n", d->f);
}

/* IPv6 with the prefix that address literals have. */
static const char *client(const struct sink_conn *c, char *out, size_t cap)
{
	char ip[IP_TEXT_MAX];

	snprintf(out, cap, "%s%s",
		ip_is_v4(&c->session.peer) ? "" : "ipv6:", ip_format(&c->session.peer, ip));
	return out;
}

bool sink_dump_begin(struct sink_conn *c, struct bytes sender)
{
	struct sink *s = sink_of(c);
	struct bytes helo = bytes_make(c->session.helo, c->session.helo_n);
	char ip[IP_TEXT_MAX + 8];

	sink_dump_drop(c);
	if (!s->conf.dump_each && !s->conf.dump_all)
		return true;
	struct sink_dump *d = calloc(1, sizeof(*d));
	if (!d || !open_new(&s->conf, d)) {
		complain(s, s->conf.dump_each ? s->conf.dump_each : s->conf.dump_all);
		free(d);
		return false;
	}
	c->dump = d;
	fputs(s->conf.dump_start, d->f);
	fprintf(d->f,
		"X-Client-Addr: %s\nX-Client-Proto: %s\nX-Helo-Args: ", client(c, ip, sizeof(ip)),
		protocol(c));
	put(d, helo);
	putc_unlocked('\n', d->f);
	put_path(d, "X-Mail-Args", sender);
	return true;
}

void sink_dump_rcpt(struct sink_conn *c, struct bytes address)
{
	if (c->dump)
		put_path(c->dump, "X-Rcpt-Args", address);
}

static void finish_head(struct sink_conn *c)
{
	struct sink_dump *d = c->dump;
	char ip[IP_TEXT_MAX + 8], date[64];

	if (d->headed)
		return;
	d->headed = true;
	expand("%a, %d %b %Y %H:%M:%S %z", date, sizeof(date));
	fputs("Received: from ", d->f);
	put(d, bytes_make(c->session.helo, c->session.helo_n));
	fprintf(d->f, " ([%s])\n\tby %s (bypost-bench) with %s id %08x;\n\t%s\n",
		client(c, ip, sizeof(ip)), sink_of(c)->conf.hostname, protocol(c), d->number, date);
}

/* CRLF becomes LF. */
void sink_dump_content(struct sink_conn *c, struct bytes run)
{
	struct sink_dump *d = c->dump;

	if (!d)
		return;
	finish_head(c);
	for (size_t i = 0; i < run.n; i++) {
		if (d->cr && run.p[i] != '\n')
			putc_unlocked('\r', d->f);
		d->cr = run.p[i] == '\r';
		if (!d->cr)
			putc_unlocked(run.p[i], d->f);
	}
}

/* Behind what is in the file of all. */
static bool append(struct sink_dump *d)
{
	FILE *all = fopen(d->name, "ae");
	static char step[COPY_STEP];
	size_t n;

	if (!all)
		return false;
	rewind(d->f);
	while ((n = fread(step, 1, sizeof(step), d->f)) > 0)
		fwrite(step, 1, n, all);
	bool ok = !ferror(d->f) && !ferror(all);
	ok &= fclose(all) == 0;
	return ok;
}

bool sink_dump_end(struct sink_conn *c)
{
	struct sink_dump *d = c->dump;
	char name[PATH_MAX];
	bool ok;

	if (!d)
		return true;
	finish_head(c);
	fputs(d->cr ? "\r\n" : "\n", d->f);
	ok = fflush(d->f) == 0 && !ferror(d->f);
	if (ok && sink_of(c)->conf.dump_all) {
		ok = append(d);
	} else if (ok) {
		snprintf(name, sizeof(name), "%s.%08x", d->name, d->number);
		ok = rename(d->part, name) == 0;
	}
	if (!ok)
		complain(sink_of(c), d->name);
	sink_dump_drop(c);
	return ok;
}

void sink_dump_drop(struct sink_conn *c)
{
	struct sink_dump *d = c->dump;

	if (!d)
		return;
	c->dump = NULL;
	fclose(d->f);
	unlink(d->part); /* unless it was renamed */
	free(d);
}
