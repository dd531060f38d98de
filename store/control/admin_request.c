/* SPDX-License-Identifier: BSD-3-Clause
 * Reading requests: nothing here trusts the client. */
#include "store/control/admin_priv.h"

json_t *admin_request_parse(
	const char *line, size_t n, const char **command_r, char *error, size_t error_n)
{
	json_error_t je;

	if (n > ADMIN_REQUEST_MAX) {
		snprintf(error, error_n, "the request is too long");
		return NULL;
	}
	/* jansson bounds the depth itself (JSON_PARSER_MAX_DEPTH). */
	json_t *request = json_loadb(line, n, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(request)) {
		snprintf(error, error_n, "the request is not a JSON object");
		json_decref(request);
		return NULL;
	}
	*command_r = json_string_value(json_object_get(request, "command"));
	if (!*command_r) {
		snprintf(error, error_n, "the request has no command");
		json_decref(request);
		return NULL;
	}
	return request;
}

const char *admin_text(const json_t *request, const char *key, size_t max, bool *ok_r)
{
	const json_t *v = json_object_get(request, key);

	*ok_r = true;
	if (!v)
		return NULL;
	*ok_r = json_is_string(v) && json_string_length(v) <= max &&
		strlen(json_string_value(v)) == json_string_length(v);
	return *ok_r ? json_string_value(v) : NULL;
}

uint64_t admin_number(
	const json_t *request, const char *key, uint64_t def, uint64_t max, bool *ok_r)
{
	const json_t *v = json_object_get(request, key);

	*ok_r = true;
	if (!v)
		return def;
	*ok_r = json_is_integer(v) && json_integer_value(v) >= 0 &&
		(uint64_t)json_integer_value(v) <= max;
	return *ok_r ? (uint64_t)json_integer_value(v) : def;
}

void admin_lines_each(struct chain *lines, bool (*line)(struct admin_client *c, json_t *object),
	struct admin_client *c)
{
	size_t n = lines->bytes;
	char *text = malloc(n + 1);
	bool more = text != NULL;

	n = text ? chain_read(lines, 0, text, n) : 0;
	chain_free(lines);
	for (size_t at = 0; more && at < n;) {
		const char *end = memchr(text + at, '\n', n - at);
		size_t length = end ? (size_t)(end - text) - at : n - at;
		json_t *object = length ? json_loadb(text + at, length, 0, NULL) : NULL;
		if (json_is_object(object))
			more = line(c, object);
		json_decref(object);
		at += length + 1;
	}
	free(text);
}
