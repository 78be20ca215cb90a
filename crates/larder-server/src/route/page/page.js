// Fills the page's numbers from /v1/status, twice a second while the page is visible.
"use strict";

const COUNTS = ["hits", "misses", "errors", "hit_mean_micros", "miss_mean_micros"];
const TABLE_COUNTS = ["records", "bytes", "hits", "misses", "invalid"];
const INTERVAL_MS = 500;

function cell(row, text) {
  const element = document.createElement("td");
  element.textContent = text;
  row.append(element);
}

function show(status) {
  for (const resource of status.resources) {
    const row = document.querySelector(`tr[data-name="${CSS.escape(resource.name)}"]`);
    for (const count of COUNTS) {
      row.querySelector(`.${count}`).textContent = resource[count].toLocaleString("en");
    }
  }
  for (const table of status.tables) {
    const row = document.querySelector(`tr[data-table="${CSS.escape(table.name)}"]`);
    row.querySelector(".state").textContent = table.state;
    for (const count of TABLE_COUNTS) {
      row.querySelector(`.${count}`).textContent = table[count].toLocaleString("en");
    }
  }
  const origins = document.getElementById("origins");
  origins.replaceChildren(...status.origins.map((origin) => {
    const row = document.createElement("tr");
    cell(row, origin.name);
    cell(row, origin.track);
    cell(row, origin.state);
    cell(row, (origin.notices || []).join("; "));
    return row;
  }));
  const { entries, bytes, limit_bytes, entries_invalidated } = status.cache;
  const mib = (number) => (number / 1048576).toFixed(1);
  document.getElementById("summary").textContent =
    `${entries.toLocaleString("en")} entries, ${mib(bytes)} of ${mib(limit_bytes)} MiB, ` +
    `${entries_invalidated.toLocaleString("en")} invalidated, up ${status.uptime_seconds} s`;
}

async function refresh() {
  try {
    if (!document.hidden) {
      const response = await fetch("/v1/status");
      show(await response.json());
    }
  } catch {
    document.getElementById("summary").textContent = "The server does not answer.";
  }
  setTimeout(refresh, INTERVAL_MS);
}

refresh();
