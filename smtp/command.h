/* SPDX-License-Identifier: BSD-3-Clause
 * One command line (RFC 5321 4.1.1): octets to verb and argument, as views into the input.  Only
 * CRLF ends a line.  Any thread, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"

#define SMTP_LINE_MAX 2048 /* octets with CRLF; no verb has a higher limit (command.def) */

enum command_verb {
	COMMAND_UNKNOWN,
#define COMMAND(id, limit, states, junk, handler) COMMAND_##id,
#include "smtp/command.def"
#undef COMMAND
	COMMAND_N
};

struct command {
	enum command_verb verb;
	struct bytes word;     /* the verb as it was written */
	struct bytes argument; /* behind the space; trailing spaces and tabs cut (RFC 5321 4.1.1) */
	bool utf8;             /* beyond ASCII, and well formed */
};

enum command_verdict {
	COMMAND_MORE,     /* no CRLF yet; nothing consumed */
	COMMAND_OK,       /* *cmd_r is valid */
	COMMAND_BAD,      /* the line has control octets, bare CR or LF, or is not UTF-8 */
	COMMAND_TOO_LONG, /* over the verb's limit, or no CRLF within SMTP_LINE_MAX */
	COMMAND_FOREIGN,  /* the line of another protocol: HTTP, a header field */
};

/* Parse the line that in begins with.  *used_r: octets up to and including CRLF; 0 with
 * COMMAND_MORE and with a COMMAND_TOO_LONG that has no CRLF yet. */
enum command_verdict command_parse(struct bytes in, struct command *cmd_r, size_t *used_r);
/* The same for a line that is no command, the response of a SASL exchange: it becomes *line_r. */
enum command_verdict command_line(struct bytes in, struct bytes *line_r, size_t *used_r);
/* Does a connection that begins like this speak TLS? */
bool command_looks_like_tls(struct bytes in);
