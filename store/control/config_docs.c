/* SPDX-License-Identifier: BSD-3-Clause
 * The sample file and docs/configuration.md, both made from config.def. */
#include "store/control/config_priv.h"

static const char *const type_names[CONFIG_TYPE_N] = {
	[CONFIG_HOST] = "host name",
	[CONFIG_HOSTPORT] = "host or host:port",
	[CONFIG_PATTERN] = "domain, .domain or *",
	[CONFIG_NAME] = "name",
	[CONFIG_DEVICE] = "device",
	[CONFIG_CPUS] = "CPU list",
	[CONFIG_STRING] = "text",
	[CONFIG_PATH] = "absolute path",
	[CONFIG_UINT] = "number",
	[CONFIG_SIZE] = "size",
	[CONFIG_DURATION] = "duration",
	[CONFIG_BOOL] = "true or false",
	[CONFIG_ENUM] = "one of",
	[CONFIG_MAC] = "hardware address",
	[CONFIG_IP] = "IP address",
	[CONFIG_ROLES] = "list of",
	[CONFIG_NETS] = "list of networks",
	[CONFIG_ADDRS] = "list of addresses",
	[CONFIG_HOSTS] = "list of domains",
	[CONFIG_PATTERNS] = "list of names and .names",
	[CONFIG_SERVERS] = "list of resolvers",
	[CONFIG_DIGESTS] = "list of SHA-256 digests",
	[CONFIG_PATHS] = "list of absolute paths",
	[CONFIG_DURATIONS] = "list of durations",
};

/* What the sample gives for keys that must be given. */
struct example {
	enum config_struct_id id;
	const char *key, *value;
};
static const struct example examples[] = {
	{CONFIG_STRUCT_node, "hostname",  "mail.example.org"},
	{CONFIG_STRUCT_port, "name",      "lan"             },
	{CONFIG_STRUCT_port, "kind",      "tap"             },
	{CONFIG_STRUCT_port, "device",    "bypost0"         },
	{CONFIG_STRUCT_port, "addresses", "[198.18.0.1/24]" },
};

static const char *example_find(enum config_struct_id id, const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		if (examples[i].id == id && strcmp(examples[i].key, key) == 0)
			return examples[i].value;
	}
	return NULL;
}

static void type_print(FILE *out, const struct config_field *f)
{
	fputs(type_names[f->type], out);
	if (f->type == CONFIG_ENUM || f->type == CONFIG_ROLES) {
		fputc(' ', out);
		for (const char *p = f->unit; *p; p++) {
			if (*p == '|')
				fputs(", ", out);
			else
				fputc(*p, out);
		}
	} else if (f->unit[0]) {
		fprintf(out, " of %s", f->unit);
	}
}

/* "16 to 65536", or nothing where it says nothing. */
static bool range_print(FILE *out, const struct config_field *f, const char *before)
{
	char lo[32], hi[32];

	if (f->type == CONFIG_UINT) {
		fprintf(out, "%s%llu to %llu", before, (unsigned long long)f->min,
			(unsigned long long)f->max);
	} else if (f->type == CONFIG_SIZE) {
		fprintf(out, "%s%s to %s", before, config_size_format(f->min, lo),
			config_size_format(f->max, hi));
	} else if (f->type == CONFIG_DURATION) {
		fprintf(out, "%s%s to %s", before, config_duration_format(f->min, lo),
			config_duration_format(f->max, hi));
	} else if (f->type >= CONFIG_LISTS) {
		fprintf(out, "%sat most %llu", before, (unsigned long long)f->max);
	} else {
		return false;
	}
	return true;
}

static void wrap_print(FILE *out, const char *indent, const char *text)
{
	size_t column = 0;

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " ");
		if (column && column + 1 + n > 84) {
			fputc('\n', out);
			column = 0;
		}
		column += (size_t)(column ? fprintf(out, " %.*s", (int)n, p)
					  : fprintf(out, "%s# %.*s", indent, (int)n, p));
		p += n;
		p += strspn(p, " ");
	}
	fputc('\n', out);
}

static void sample_struct(FILE *out, enum config_struct_id id, int depth, bool commented);

static void sample_key(FILE *out, enum config_struct_id id, const struct config_field *f,
	const char *indent, bool commented)
{
	const char *example = example_find(id, f->key);
	bool list = f->type >= CONFIG_LISTS;

	wrap_print(out, indent, f->help);
	fprintf(out, "%s# (", indent);
	type_print(out, f);
	range_print(out, f, "; ");
	fputs(")\n", out);
	fprintf(out, "%s%s%s: ", indent, example && !commented ? "" : "#", f->key);
	if (example)
		fputs(example, out);
	else if (list)
		fprintf(out, "[%s]", f->def);
	else
		fputs(f->def[0] ? f->def : "\"\"", out);
	fputc('\n', out);
}

static void sample_field(FILE *out, enum config_struct_id id, const struct config_field *f,
	int depth, bool commented)
{
	char indent[16];
	const char *mark =
		commented || (f->kind == CONFIG_KIND_SEQ && id != CONFIG_STRUCT_root) ? "#" : "";

	snprintf(indent, sizeof(indent), "%*s", depth * 2, "");
	if (f->kind == CONFIG_KIND_KEY) {
		sample_key(out, id, f, indent, commented);
		return;
	}
	if (id == CONFIG_STRUCT_root)
		fputc('\n', out);
	wrap_print(out, indent, config_structs[f->sub].help);
	fprintf(out, "%s%s%s:\n", indent, mark, f->key);
	if (f->kind == CONFIG_KIND_SEQ)
		fprintf(out, "%s%s  -\n", indent, mark);
	sample_struct(out, f->sub, depth + (f->kind == CONFIG_KIND_SEQ ? 2 : 1), *mark != '\0');
}

static void sample_struct(FILE *out, enum config_struct_id id, int depth, bool commented)
{
	const struct config_struct *cs = &config_structs[id];

	for (unsigned i = 0; i < cs->count; i++)
		sample_field(out, id, &cs->fields[i], depth, commented);
}

void config_print_sample(FILE *out)
{
	fputs("# Configuration of bypostd.  Every key is here; what stands behind # is the "
	      "default.\n"
	      "# Sizes: 64M, 10G.  Durations: 30s, 5m, 4h, 5d.  Lists: [a, b].\n",
		out);
	sample_struct(out, CONFIG_STRUCT_root, 0, false);
}

static void docs_key(FILE *out, const struct config_field *f)
{
	const char *quote = f->def[0] ? "`" : "";

	fprintf(out, "| `%s` | ", f->key);
	type_print(out, f);
	fprintf(out, " | %s%s%s | ", quote, f->def, quote);
	range_print(out, f, "");
	fprintf(out, " | %s%s |\n", f->help,
		f->reload == CONFIG_RELOAD ? " Taken by a reload." : "");
}

static void docs_struct(FILE *out, const char *title, enum config_struct_id id, const char *most)
{
	const struct config_struct *cs = &config_structs[id];

	fprintf(out, "\n## %s\n\n%s%s\n\n", title, cs->help, most);
	fputs("| key | type | default | range | meaning |\n|---|---|---|---|---|\n", out);
	for (unsigned i = 0; i < cs->count; i++) {
		const struct config_field *f = &cs->fields[i];
		if (f->kind == CONFIG_KIND_KEY) {
			docs_key(out, f);
		} else {
			fprintf(out, "| `%s` | list of mappings | | at most %u | See below. |\n",
				f->key, f->most);
		}
	}
}

static void docs_walk(FILE *out, enum config_struct_id id, const char *prefix)
{
	const struct config_struct *cs = &config_structs[id];
	char title[64], most[64];

	for (unsigned i = 0; i < cs->count; i++) {
		const struct config_field *f = &cs->fields[i];
		if (f->kind == CONFIG_KIND_KEY)
			continue;
		snprintf(title, sizeof(title), "%s%s%s", prefix, *prefix ? "." : "", f->key);
		most[0] = '\0';
		if (f->kind == CONFIG_KIND_SEQ)
			snprintf(most, sizeof(most), " A list of at most %u.", f->most);
		docs_struct(out, title, f->sub, most);
		docs_walk(out, f->sub, title);
	}
}

void config_print_docs(FILE *out)
{
	fputs("# Configuration\n\n"
	      "bypostd reads one YAML file (`bypostd --config FILE`; `/etc/bypost/bypost.yaml` "
	      "without\n"
	      "it).  `bypostd --check-config FILE` checks one and names the line and the key that "
	      "is\n"
	      "wrong; an unknown key is an error.  `bypostd --print-config` prints a commented "
	      "sample.\n"
	      "This page is made by `bypostd --print-config-docs`.\n\n"
	      "Sizes are octets or take a unit: `64k`, `64M`, `10G`, `1T` (powers of 1024).  "
	      "Durations\n"
	      "need one: `500ms`, `30s`, `5m`, `4h`, `5d`.  Lists are YAML lists: `[a, b]`.\n\n"
	      "A change of any key takes effect when bypostd is started again.\n",
		out);
	docs_walk(out, CONFIG_STRUCT_root, "");
}
