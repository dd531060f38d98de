/* SPDX-License-Identifier: BSD-3-Clause
 * Mail of a folder, to be sent again and again.  Each file is one message as people keep them
 * (RFC 5322, .eml).  Main thread fills it; read-only afterwards. */
#pragma once
#include "dataplane/base/buf.h"

#define CORPUS_FILES_MAX  100000u
#define CORPUS_OCTETS_MAX (2ull << 30) /* chosen: it is kept in memory */

struct corpus_mail {
	uint64_t at, n; /* content in corpus.octets: header, empty line, body */
	uint64_t body_n;
	uint32_t body_crc;
	bool wide; /* octets beyond ASCII are in it */
};

struct corpus {
	uint8_t *octets;
	uint64_t n, room;
	struct corpus_mail *mails;
	uint32_t count, mails_room;
};

/* A folder: its files whose names end in .eml, in the order of their names; or one file.  Lines are
 * made to end in CRLF, as SMTP has it, NUL becomes a space, and a header without end gets one.
 * Returns 0, or -errno with error[]; -ENOENT: nothing is there, -EFBIG: more than fits. */
int corpus_load(struct corpus *c, const char *path, char *error, size_t error_n) WARN_UNUSED;
/* One message more, from memory.  Returns 0, -ENOMEM or -EFBIG. */
int corpus_add(struct corpus *c, struct bytes file) WARN_UNUSED;
void corpus_free(struct corpus *c);
static inline struct bytes corpus_content(const struct corpus *c, const struct corpus_mail *m)
{
	return bytes_make(c->octets + m->at, m->n);
}
