/* SPDX-License-Identifier: BSD-3-Clause
 * `alias set|delete|list`, `domain add|delete|list`, and what limits a user. */
#include "store/ctl/ctl.h"

static int finish(struct ctl *c, json_t *request, const char *did)
{
	json_t *last = NULL;
	char text[400];

	if (!request) {
		fprintf(stderr, "bypostctl: names must be UTF-8\n");
		return CTL_ERROR;
	}
	int exit = ctl_run(c, request, NULL, NULL, &last);
	if (exit == CTL_OK && !c->json)
		printf("%s %s\n", did,
			format_safe(
				ctl_text(last, json_object_get(last, "name") ? "name" : "address"),
				text, sizeof(text)));
	json_decref(last);
	return exit;
}

/* ---- aliases ---- */

int ctl_alias_set(struct ctl *c, char **args, int n)
{
	json_t *targets = json_array();

	for (int i = 1; i < n; i++)
		json_array_append_new(targets, json_string(args[i]));
	return finish(c,
		json_pack("{s:s, s:s, s:o}", "command", "alias set", "address", args[0], "targets",
			targets),
		"set");
}

int ctl_alias_delete(struct ctl *c, char **args, int n)
{
	(void)n;
	return finish(c, json_pack("{s:s, s:s}", "command", "alias delete", "address", args[0]),
		"deleted");
}

static void show_alias(const json_t *o, void *ctx)
{
	char alias[400], targets[1000];

	(void)ctx;
	printf("%-40s %s\n", format_safe(ctl_text(o, "alias"), alias, sizeof(alias)),
		format_safe(ctl_text(o, "targets"), targets, sizeof(targets)));
}

int ctl_alias_list(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "alias list"), show_alias, NULL, NULL);
}

/* ---- domains ---- */

int ctl_domain_add(struct ctl *c, char **args, int n)
{
	(void)n;
	return finish(
		c, json_pack("{s:s, s:s}", "command", "domain add", "domain", args[0]), "added");
}

int ctl_domain_delete(struct ctl *c, char **args, int n)
{
	(void)n;
	return finish(c, json_pack("{s:s, s:s}", "command", "domain delete", "domain", args[0]),
		"deleted");
}

static void show_domain(const json_t *o, void *ctx)
{
	char name[300];

	(void)ctx;
	printf("%s%s\n", format_safe(ctl_text(o, "domain"), name, sizeof(name)),
		json_is_true(json_object_get(o, "configured")) ? " (configuration)" : "");
}

int ctl_domain_list(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "domain list"), show_domain, NULL, NULL);
}

/* ---- limits ---- */

/* "500M", "2G", "none", "default". */
static bool size_parse(const char *text, json_int_t *out)
{
	static const char suffixes[] = "kMGT";
	size_t n = strlen(text);
	const char *suffix = n ? strchr(suffixes, text[n - 1]) : NULL;
	uint64_t v;

	*out = strcmp(text, "none") == 0 ? INT64_MAX : 0;
	if (*out || strcmp(text, "default") == 0)
		return true;
	bool has = suffix && *suffix;
	if (n < 1 || bytes_to_u64(bytes_make(text, n - has), &v) < 0 || v == 0 ||
		(has && v >> 22) || v >> 62)
		return false;
	*out = (json_int_t)(has ? v << 10 * (suffix - suffixes + 1) : v);
	return true;
}

int ctl_user_quota(struct ctl *c, char **args, int n)
{
	json_int_t octets;

	(void)n;
	if (!size_parse(args[1], &octets)) {
		fprintf(stderr, "bypostctl: the quota must be like 500M or 2G, none, or default\n");
		return CTL_USAGE;
	}
	return finish(c,
		json_pack("{s:s, s:s, s:I, s:I}", "command", "user quota", "address", args[0],
			"quota_bytes", octets, "quota_messages", (json_int_t)c->messages),
		"quota changed for");
}

int ctl_user_disable(struct ctl *c, char **args, int n)
{
	(void)n;
	return finish(c, json_pack("{s:s, s:s}", "command", "user disable", "address", args[0]),
		"disabled");
}

int ctl_user_enable(struct ctl *c, char **args, int n)
{
	(void)n;
	return finish(c, json_pack("{s:s, s:s}", "command", "user enable", "address", args[0]),
		"enabled");
}
