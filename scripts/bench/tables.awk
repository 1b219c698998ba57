# Makes Markdown tables of the JSON lines that scripts/bench.sh writes, one run on
# each. Medians count. A ratio is the median of those of each round, in which brokers
# take turns, so that a machine that slows down meanwhile slows both.
#
#   awk -v want="GROUP..." -f scripts/bench/tables.awk GOALS RESULTS
#
# GOALS has lines GROUP|NAME|GOAL. Plain POSIX awk.

BEGIN {
	FS = "|"
	count = split("brokerCPUMicrosPerMessage msgsPerSecond p50 p99 p999 brokerDiskBytesPerMessage fileBytesPerMessage brokerVoluntarySwitchesPerMessage lost reordered duplicates " \
		"rate count emptyBytes rssBytes bytesPerConnection switchesPerMinute cpuMillisPerMinute", metrics, " ")
	known = split("mosquitto mosquitto-acl nats mochi edgebroker-open edgebroker relay", order, " ")
	title["mosquitto-acl"] = "mosquitto, 100 rules"
	title["edgebroker-open"] = "edgebroker, no rules"
	title["relay"] = "*relay, the limit*"
	title["nats"] = "NATS"
}

FNR == NR {
	goal[$1, $2] = $3
	next
}

/^\{"group":"about"/ {
	about = $0
	next
}

{
	group = text("group"); row = text("row"); broker = text("broker"); round = number("round")
	if (!((group, row) in seen)) {
		seen[group, row] = 1
		rows[group, ++rowCount[group]] = row
	}
	takesPart[group, broker] = 1
	if (round > rounds[group])
		rounds[group] = round
	for (i = 1; i <= count; i++) {
		v = number(metrics[i])
		if (v != "")
			value[group, row, broker, round, metrics[i]] = v
	}
	if (/"failed":true/ || number("lost") + number("reordered") + number("duplicates") > 0)
		unclean[group, row, broker] = 1
}

END {
	n = split(want, groups, " ")
	for (g = 1; g <= n; g++) {
		group = groups[g]
		starred = 0
		if (group == "release")
			release()
		else if (group == "goals")
			goals()
		else if (rowCount[group] == 0)
			continue
		else if (group == "idle")
			idle()
		else if (group == "durable")
			durable()
		else if (group == "latency")
			latency()
		else
			cpu()
		if (starred)
			print "\n\\* not every run delivered everything once and in order."
		print ""
	}
}

# text and number read a member of the line; members of the same name have their
# first.
function text(name) {
	if (!match($0, "\"" name "\":\"[^\"]*\""))
		return ""
	return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
}

function number(name) {
	if (!match($0, "\"" name "\": *-?[0-9][-0-9.eE+]*"))
		return ""
	return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0
}

# median of list[1..n], which it sorts.
function median(n, i, j, v) {
	for (i = 2; i <= n; i++) {
		v = list[i]
		for (j = i - 1; j > 0 && list[j] > v; j--)
			list[j + 1] = list[j]
		list[j + 1] = v
	}
	return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

# middle of a metric over the rounds, empty if there is none.
function middle(group, row, broker, metric, r, n) {
	n = 0
	for (r = 1; r <= rounds[group]; r++)
		if ((group, row, broker, r, metric) in value)
			list[++n] = value[group, row, broker, r, metric]
	return n ? median(n) : ""
}

# relation of a metric of one broker and row to that of another; sets least, most
# and times, how often it was measured.
function relation(group, rowA, a, rowB, b, metric, r, n, d) {
	n = 0
	for (r = 1; r <= rounds[group]; r++)
		if ((group, rowA, a, r, metric) in value && (group, rowB, b, r, metric) in value) {
			d = value[group, rowB, b, r, metric]
			if (d > 0)
				list[++n] = value[group, rowA, a, r, metric] / d
		}
	times = n
	if (!n)
		return ""
	d = median(n)
	least = list[1]
	most = list[n]
	return d
}

function digits(v) {
	if (v == "") return "-"
	if (v >= 1000) return thousands(v)
	if (v >= 100) return sprintf("%.0f", v)
	if (v >= 10) return sprintf("%.1f", v)
	if (v >= 1) return sprintf("%.2f", v)
	return sprintf("%.3f", v)
}

function thousands(v, s, out) {
	s = sprintf("%.0f", v)
	while (length(s) > 3) {
		out = "," substr(s, length(s) - 2) out
		s = substr(s, 1, length(s) - 3)
	}
	return s out
}

function ms(v) { return v == "" ? "-" : digits(v * 1000) }

function name(broker) { return broker in title ? title[broker] : broker }

function star(group, row, broker) {
	if (!((group, row, broker) in unclean))
		return ""
	starred = 1
	return "\\*"
}

# head prints the first two lines of a table: what is in text, and a column for each
# of the brokers, with unit behind the name.
function head(group, first, unit, last, i, line, rule) {
	line = "| " first
	rule = "|---"
	for (i = 1; i <= known; i++)
		if ((group, order[i]) in takesPart) {
			line = line " | " name(order[i]) unit
			rule = rule "|---"
		}
	if (last != "") {
		line = line " | " last
		rule = rule "|---"
		gsub(/[^|]/, "", last)
		for (i = length(last); i > 0; i--)
			rule = rule "|---"
	}
	print line " |\n" rule "|"
}

function cells(group, row, metric, scale, i, line, v) {
	for (i = 1; i <= known; i++)
		if ((group, order[i]) in takesPart) {
			v = middle(group, row, order[i], metric)
			line = line " | " (v == "" ? "-" : digits(v * scale)) star(group, row, order[i])
		}
	return line
}

# met is the verdict on a ratio of edgebroker's row to other, as far as it is printed, or
# that there is none because something was lost: what is not delivered costs nothing.
function met(ratio, goal, group, row, other) {
	if ((group, row, "edgebroker") in unclean || (group, other, "edgebroker") in unclean)
		return "not clean"
	return digits(ratio) + 0 <= goal ? "yes" : sprintf("%.2f times too much", ratio / goal)
}

# verdict is the goal and met, in two cells.
function verdict(ratio, goal, group, row, other) {
	return goal " | " (ratio == "" ? "-" : met(ratio, goal, group, row, other))
}

function ratioCell(ratio) {
	if (ratio == "") return " | - | -"
	return sprintf(" | **%s** | %s to %s", digits(ratio), digits(least), digits(most))
}

function cpu(i, row, q, line) {
	print "Microseconds of the broker's processor time per delivered message:\n"
	line = "edgebroker / mosquitto | in the rounds | goal | met"
	if (group == "acl")
		line = "edgebroker / mosquitto, 100 rules | in the rounds | edgebroker / without rules | in the rounds"
	head(group, "scenario", "", line)
	for (i = 1; i <= rowCount[group]; i++) {
		row = rows[group, i]
		line = "| " row cells(group, row, "brokerCPUMicrosPerMessage", 1)
		if (group == "acl") {
			line = line ratioCell(relation(group, row, "edgebroker", row, "mosquitto-acl", "brokerCPUMicrosPerMessage"))
			line = line ratioCell(relation(group, row, "edgebroker", row, "edgebroker-open", "brokerCPUMicrosPerMessage"))
		} else {
			q = relation(group, row, "edgebroker", row, "mosquitto", "brokerCPUMicrosPerMessage")
			line = line ratioCell(q) " | " (goal[group, row] == "" ? "- | -" : verdict(q, goal[group, row], group, row, row))
		}
		print line " |"
	}
	if (group == "low" || group == "paced") {
		print "\nLatency, p99 in milliseconds:\n"
		head(group, "scenario", "", "")
		for (i = 1; i <= rowCount[group]; i++)
			print "| " rows[group, i] cells(group, rows[group, i], "p99", 1000) " |"
		print "\nHow often the broker went to sleep, per message:\n"
		head(group, "scenario", "", "")
		for (i = 1; i <= rowCount[group]; i++)
			print "| " rows[group, i] cells(group, rows[group, i], "brokerVoluntarySwitchesPerMessage", 1) " |"
	} else {
		print "\nMessages delivered per second, load and broker sharing the processors:\n"
		head(group, "scenario", "", "")
		for (i = 1; i <= rowCount[group]; i++)
			print "| " rows[group, i] cells(group, rows[group, i], "msgsPerSecond", 1) " |"
	}
}

function durable(i, row) {
	print "Messages per second:\n"
	head(group, "publishers", "", "edgebroker / mosquitto | in the rounds")
	for (i = 1; i <= rowCount[group]; i++) {
		row = rows[group, i]
		print "| " row cells(group, row, "msgsPerSecond", 1) ratioCell(relation(group, row, "edgebroker", row, "mosquitto", "msgsPerSecond")) " |"
	}
	print "\nMicroseconds of processor time per message, milliseconds of p99, bytes written to disk per message:\n"
	head(group, "publishers", ": us, p99, bytes", "edgebroker: bytes of files")
	for (i = 1; i <= rowCount[group]; i++) {
		row = rows[group, i]
		print "| " row triples(row) " | " digits(middle(group, row, "edgebroker", "fileBytesPerMessage")) " |"
	}
}

function triples(row, i, line) {
	for (i = 1; i <= known; i++)
		if ((group, order[i]) in takesPart)
			line = line " | " digits(middle(group, row, order[i], "brokerCPUMicrosPerMessage")) ", " ms(middle(group, row, order[i], "p99")) ", " \
				digits(middle(group, row, order[i], "brokerDiskBytesPerMessage")) star(group, row, order[i])
	return line
}

# Rows of this group are NAME: WHAT RUNS BESIDE.
function latency(i, b, row, quiet, q, c) {
	print "Milliseconds, 10 pairs, at half and at a quarter of what each broker does at most:\n"
	print "| share: beside it | broker | messages/s | p50 | p99 | p99.9 | p99 / quiet | in the rounds | goal | met |"
	print "|---|---|---|---|---|---|---|---|---|---|"
	for (i = 1; i <= rowCount[group]; i++)
		for (b = 1; b <= known; b++) {
			row = rows[group, i]
			broker = order[b]
			if (middle(group, row, broker, "p99") == "" && !((group, row, broker) in unclean))
				continue
			quiet = row
			sub(/: [a-z]*$/, row ~ /: (checkpoints|written)$/ ? ": stored" : row ~ /: collections$/ ? ": large" : ": quiet", quiet)
			q = row == quiet || row ~ /: (stored|large)$/ ? "" : relation(group, row, broker, quiet, broker, "p99")
			c = middle(group, row, broker, "count")
			print "| " row (c == "" || c == 0 && row ~ /: large$/ ? "" : " (" c ")") " | " name(broker) star(group, row, broker) " | " digits(middle(group, row, broker, "rate")) \
				" | " ms(middle(group, row, broker, "p50")) " | " ms(middle(group, row, broker, "p99")) " | " ms(middle(group, row, broker, "p999")) \
				(q == "" ? " | - | - | - | -" : ratioCell(q) " | " (broker == "edgebroker" ? verdict(q, 2, group, row, quiet) : "- | -")) " |"
		}
}

function idle(i, row) {
	print "Kilobytes of resident memory per connection, all of the process counted:\n"
	head(group, "clients", "", "edgebroker / mosquitto | in the rounds")
	for (i = 1; i <= rowCount[group]; i++) {
		row = rows[group, i]
		print "| " row cells(group, row, "bytesPerConnection", 1 / 1000) ratioCell(relation(group, row, "edgebroker", row, "mosquitto", "bytesPerConnection")) " |"
	}
	row = rows[group, 1]
	print "| none: MB after the start" cells(group, row, "emptyBytes", 1 / 1e6) ratioCell(relation(group, row, "edgebroker", row, "mosquitto", "emptyBytes")) " |"
	print "\nContext switches in a minute:\n"
	perMinute("switchesPerMinute")
	print "\nMilliseconds of processor time in a minute:\n"
	perMinute("cpuMillisPerMinute")
}

function perMinute(metric, i, row, q) {
	head(group, "clients", "", "edgebroker / mosquitto | in the rounds | goal | met")
	for (i = 1; i <= rowCount[group]; i++) {
		row = rows[group, i]
		q = relation(group, row, "edgebroker", row, "mosquitto", metric)
		print "| " row cells(group, row, metric, 1) ratioCell(q) " | " verdict(q, goal[group, row], group, row, row) " |"
	}
}

# release prints the short table of a release note.
function release(i, row, g) {
	print "| scenario | mosquitto | edgebroker | ratio | goal |\n|---|---|---|---|---|"
	g = "saturated"
	for (i = 1; i <= rowCount[g]; i++) {
		row = rows[g, i]
		print "| " row ", us/message | " digits(middle(g, row, "mosquitto", "brokerCPUMicrosPerMessage")) star(g, row, "mosquitto") \
			" | " digits(middle(g, row, "edgebroker", "brokerCPUMicrosPerMessage")) star(g, row, "edgebroker") \
			" | " digits(relation(g, row, "edgebroker", row, "mosquitto", "brokerCPUMicrosPerMessage")) " | " goal[g, row] " |"
	}
	g = "idle"
	for (i = 1; i <= rowCount[g]; i++) {
		row = rows[g, i]
		if (i == 1)
			releaseLine(row, "memory after the start, MB", "emptyBytes", 1e6, "")
		releaseLine(row, row ": KB per connection", "bytesPerConnection", 1000, "")
		releaseLine(row, row ": context switches/minute", "switchesPerMinute", 1, 1)
		releaseLine(row, row ": ms of processor/minute", "cpuMillisPerMinute", 1, 1)
	}
}

function releaseLine(row, label, metric, unit, most, m, e) {
	m = middle("idle", row, "mosquitto", metric)
	e = middle("idle", row, "edgebroker", metric)
	print "| " label " | " (m == "" ? "-" : digits(m / unit)) " | " (e == "" ? "-" : digits(e / unit)) \
		" | " digits(relation("idle", row, "edgebroker", row, "mosquitto", metric)) " | " most " |"
}

# goals prints each row that has a goal, of all groups, with the command that repeats it.
function goals(g, n, all, i, row, c, conditions, k, scenario) {
	print "| what | goal | measured | in the rounds | met | command |\n|---|---|---|---|---|---|"
	n = split("saturated shapes low paced idle", all, " ")
	for (g = 1; g <= n; g++)
		for (i = 1; i <= rowCount[all[g]]; i++) {
			row = rows[all[g], i]
			if (goal[all[g], row] == "")
				continue
			if (all[g] == "idle") {
				goalLine("idle", row, row, ": context switches", "switchesPerMinute")
				goalLine("idle", row, row, ": processor time", "cpuMillisPerMinute")
				if (row ~ /^4,000/ && (c = middle("idle", row, "edgebroker", "bytesPerConnection")) != "")
					printf "| %s: memory per connection | 20 KB | **%s KB** | | %s | %s |\n", row, digits(c / 1000), \
						c <= 20000 ? "yes" : sprintf("%.2f times too much", c / 20000), command("idle", row)
			} else
				goalLine(all[g], row, row, "", "brokerCPUMicrosPerMessage")
		}
	k = split("stalled quiet storm quiet storm elsewhere collections large checkpoints stored checkpoints written", conditions, " ")
	for (i = 1; i <= rowCount["latency"]; i++) {
		scenario = rows["latency", i]
		if (!sub(/: quiet$/, "", scenario))
			continue
		for (c = 1; c < k; c += 2)
			latencyLine(scenario, conditions[c], conditions[c + 1])
	}
}

function command(g, row, pattern) {
	pattern = row
	gsub(/[()|.]/, ".", pattern)
	return "`ROWS='^" pattern "$' scripts/bench.sh --" g "`"
}

function goalLine(g, row, label, what, metric, q) {
	q = relation(g, row, "edgebroker", row, "mosquitto", metric)
	if (q != "")
		print "| " label what " | " goal[g, row] ratioCell(q) " | " met(q, goal[g, row], g, row, row) " | " command(g, row) " |"
}

function latencyLine(scenario, beside, quiet, q) {
	q = relation("latency", scenario ": " beside, "edgebroker", scenario ": " quiet, "edgebroker", "p99")
	if (q != "")
		print "| " scenario ": p99 beside " beside " by " quiet " | 2" ratioCell(q) " | " met(q, 2, "latency", scenario ": " beside, scenario ": " quiet) " | " command("latency", scenario) " |"
}
