// Sortable tables: every column heading becomes a button. References keep their place below the students.
(() => {
  "use strict";

  const value = (row, column) => {
    const cell = row.cells[column];
    const number = cell.dataset.value;
    return number === undefined ? null : Number(number);
  };

  const compare = (column, ascending) => (a, b) => {
    if (column === 0) {
      const order = a.cells[0].textContent.localeCompare(b.cells[0].textContent, "en");
      return ascending ? order : -order;
    }
    const [x, y] = [value(a, column), value(b, column)];
    // Rows without a number stay last in either direction.
    if (x === null || y === null) return (x === null) - (y === null);
    return ascending ? x - y : y - x;
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
        const direction = next === undefined ? "ascending" : next;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (direction) head.setAttribute("aria-sort", direction);
        const rows = direction ? [...original].sort(compare(column, direction === "ascending")) : original;
        body.append(...rows);
      });
    });
  };

  const tables = document.querySelectorAll("table.sortable");
  tables.forEach(makeSortable);
  document.documentElement.dataset.sortable = String(tables.length);
})();
