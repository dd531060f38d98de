/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/corpus.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "dataplane/base/crc32c.h"

#define PATH_OCTETS 4096
#define ROOM_STEP   (1u << 20)

static bool make_room(struct corpus *c, uint64_t octets)
{
	uint64_t room = c->room;

	while (room < c->n + octets)
		room += room / 2 + ROOM_STEP;
	if (room != c->room) {
		uint8_t *more = realloc(c->octets, room);
		if (!more)
			return false;
		c->octets = more;
		c->room = room;
	}
	if (c->count == c->mails_room) {
		uint32_t n = c->mails_room * 2 + 64;
		struct corpus_mail *more = realloc(c->mails, n * sizeof(*more));
		if (!more)
			return false;
		c->mails = more;
		c->mails_room = n;
	}
	return true;
}

static void put(struct corpus *c, uint8_t octet)
{
	c->octets[c->n++] = octet;
}

static void put_line_end(struct corpus *c)
{
	put(c, '\r');
	put(c, '\n');
}

/* CRLF, LF and CR alone are the end of a line. */
static void put_lines(struct corpus *c, struct bytes file)
{
	for (size_t i = 0; i < file.n; i++) {
		uint8_t octet = file.p[i];
		if (octet == '\r') {
			put_line_end(c);
			i += i + 1 < file.n && file.p[i + 1] == '\n';
		} else if (octet == '\n') {
			put_line_end(c);
		} else {
			put(c, octet ? octet : ' ');
		}
	}
	if (file.n && file.p[file.n - 1] != '\n' && file.p[file.n - 1] != '\r')
		put_line_end(c);
}

/* Octets of the header with the empty line behind it; 0: there is none. */
static size_t header_octets(struct bytes content)
{
	if (content.n >= 2 && memcmp(content.p, "\r\n", 2) == 0)
		return 2;
	const uint8_t *end = memmem(content.p, content.n, "\r\n\r\n", 4);
	return end ? (size_t)(end + 4 - content.p) : 0;
}

int corpus_add(struct corpus *c, struct bytes file)
{
	struct corpus_mail m = {.at = c->n};

	if (c->count == CORPUS_FILES_MAX || file.n > CORPUS_OCTETS_MAX - c->n)
		return -EFBIG;
	if (!make_room(c, 2 * file.n + 4))
		return -ENOMEM;
	put_lines(c, file);
	size_t header = header_octets(bytes_make(c->octets + m.at, c->n - m.at));
	if (!header) {
		put_line_end(c);
		header = c->n - m.at;
	}
	m.n = c->n - m.at;
	m.body_n = m.n - header;
	m.body_crc = crc32c(0, c->octets + m.at + header, m.body_n);
	for (uint64_t i = m.at; i < c->n && !m.wide; i++)
		m.wide = c->octets[i] >= 0x80;
	c->mails[c->count++] = m;
	return 0;
}

static int add_file(struct corpus *c, const char *path)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	int rc = 0;

	if (!f)
		return -errno;
	if (fstat(fileno(f), &st) < 0 || (uint64_t)st.st_size > CORPUS_OCTETS_MAX)
		rc = -EFBIG;
	uint8_t *text = rc == 0 ? malloc((size_t)st.st_size + 1) : NULL;
	if (text) {
		size_t n = fread(text, 1, (size_t)st.st_size, f);
		rc = ferror(f) ? -EIO : corpus_add(c, bytes_make(text, n));
		free(text);
	} else if (rc == 0) {
		rc = -ENOMEM;
	}
	fclose(f);
	return rc;
}

static int is_mail(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && strcmp(e->d_name + n - 4, ".eml") == 0;
}

static int add_folder(struct corpus *c, const char *path, char *failed)
{
	struct dirent **names;
	int n = scandir(path, &names, is_mail, alphasort), rc = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (rc == 0) {
			snprintf(failed, PATH_OCTETS, "%s/%s", path, names[i]->d_name);
			rc = add_file(c, failed);
		}
		free(names[i]);
	}
	free(names);
	return rc == 0 && n == 0 ? -ENOENT : rc;
}

int corpus_load(struct corpus *c, const char *path, char *error, size_t error_n)
{
	char failed[PATH_OCTETS];
	struct stat st;
	int rc;

	*c = (struct corpus){0};
	snprintf(failed, sizeof(failed), "%s", path);
	if (stat(path, &st) < 0)
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = add_folder(c, path, failed);
	else
		rc = add_file(c, path);
	if (rc < 0) {
		snprintf(error, error_n, "%.180s: %s", failed, strerror(-rc));
		corpus_free(c);
	}
	return rc;
}

void corpus_free(struct corpus *c)
{
	free(c->octets);
	free(c->mails);
	*c = (struct corpus){0};
}
