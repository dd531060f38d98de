/* SPDX-License-Identifier: BSD-3-Clause
 * JSON text (RFC 8259) straight into a chain.  Any thread. */
#include <errno.h>
#include "store/reader.h"

static void put(struct json_line *j, struct bytes b)
{
	if (!j->err && b.n && chain_append(j->out, b) < 0)
		j->err = ENOBUFS;
}

void json_raw(struct json_line *j, const char *text)
{
	put(j, bytes_str(text));
}

void json_u64(struct json_line *j, const char *name, uint64_t v)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "\"%s\":%llu", name, (unsigned long long)v);

	put(j, bytes_make(text, (size_t)n));
}

void json_i64(struct json_line *j, const char *name, int64_t v)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "\"%s\":%lld", name, (long long)v);

	put(j, bytes_make(text, (size_t)n));
}

static void put_escaped(struct json_line *j, uint8_t c)
{
	char text[8];

	if (c == '"' || c == '\\')
		snprintf(text, sizeof(text), "\\%c", c);
	else
		snprintf(text, sizeof(text), "\\u%04x", c);
	put(j, bytes_str(text));
}

void json_escaped(struct json_line *j, struct bytes value)
{
	size_t plain = 0; /* octets at the front that stand for themselves */
	while (plain < value.n) {
		uint8_t c = value.p[plain];
		size_t n = utf8_sequence(bytes_skip(value, plain));
		if (n && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
			plain += n;
			continue;
		}
		put(j, bytes_first(value, plain));
		if (n)
			put_escaped(j, c);
		else
			json_raw(j, "\\ufffd");
		value = bytes_skip(value, plain + 1);
		plain = 0;
	}
	put(j, value);
}

void json_text(struct json_line *j, const char *name, struct bytes value)
{
	json_raw(j, "\"");
	json_raw(j, name);
	json_raw(j, "\":\"");
	json_escaped(j, value);
	json_raw(j, "\"");
}
