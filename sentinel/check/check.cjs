// Parses every query of the content for Sentinel with Kusto's own parser, and binds it to the tables' documented
// columns: node check.cjs FOLDER, where FOLDER is `sentinel`. Fails on any error and on a column that a rule maps
// but its query does not return.
"use strict";
const fs = require("node:fs");
const path = require("node:path");

require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

// Microsoft's list of the operators that a scheduled rule may not use: "Scheduled analytics rules".
const FORBIDDEN_IN_RULES = [/\bsearch\s+\*/, /\bunion\s+\*/];
const LONGEST_RULE = 10000;

function globals(folder) {
    const { tables } = JSON.parse(fs.readFileSync(path.join(folder, "check/tables.json"), "utf8"));
    const symbols = Object.entries(tables).map(([name, { columns }]) =>
        Symbols.TableSymbol.From(`(${columns})`).WithName(name));
    return GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1("workspace", symbols));
}

function* elements(list) {
    for (let index = 0; index < list.Count; index += 1) {
        yield list.getItem(index);
    }
}

// What is wrong with a query, and the columns that it returns.
function judge(text, state) {
    const code = KustoCode.ParseAndAnalyze(text, state);
    const faults = [...elements(code.GetDiagnostics())].map(({ Code, Message, Start }) =>
        `line ${text.slice(0, Start).split("\n").length}: ${Code} ${Message}`);
    const columns = code.ResultType?.Columns ? [...elements(code.ResultType.Columns)].map(({ Name }) => Name) : [];
    return { faults, columns };
}

// The queries of a JSON document: members that hold KQL, by Microsoft's names for them.
function* queriesOf(value, place) {
    if (Array.isArray(value)) {
        for (const [index, element] of value.entries()) {
            yield* queriesOf(element, `${place}[${index}]`);
        }
    } else if (value !== null && typeof value === "object") {
        // Queries of the resource graph have tables of their own.
        if (value.queryType === 1) {
            return;
        }
        for (const [name, member] of Object.entries(value)) {
            const isQuery = ["query", "baseQuery", "lastDataReceivedQuery"].includes(name);
            if (isQuery && typeof member === "string") {
                yield { place: `${place}.${name}`, text: member };
            } else if (value.type === "IsConnectedQuery" && name === "value") {
                yield* member.map((text) => ({ place: `${place}.value`, text }));
            } else {
                yield* queriesOf(member, `${place}.${name}`);
            }
        }
    }
}

// The columns that a rule of the template maps.
function mapped({ entityMappings, customDetails, alertDetailsOverride: override }) {
    const formats = `${override.alertDisplayNameFormat} ${override.alertDescriptionFormat}`;
    return [
        ...entityMappings.flatMap((entity) => entity.fieldMappings).map((field) => field.columnName),
        ...Object.values(customDetails),
        ...[...formats.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name),
        override.alertSeverityColumnName,
        ...override.alertDynamicProperties.map((property) => property.value),
    ];
}

function files(folder, extension) {
    return fs.readdirSync(folder).filter((name) => name.endsWith(extension)).map((name) => path.join(folder, name));
}

function main(folder) {
    const state = globals(folder);
    const counts = { queries: 0, columns: 0, faults: 0 };
    const fail = (place, what) => {
        counts.faults += 1;
        console.error(`${place}: ${what}`);
    };
    const parse = (place, text) => {
        counts.queries += 1;
        const { faults, columns } = judge(text, state);
        faults.forEach((fault) => fail(place, fault));
        return columns;
    };
    const { variables, resources } = JSON.parse(fs.readFileSync(path.join(folder, "azuredeploy.json"), "utf8"));
    for (const { type, properties } of resources) {
        // The template keeps each text as a variable, into which it puts the source system.
        const name = /^\[replace\(variables\('(\w+)'\)/.exec(properties.query)?.[1];
        if (name === undefined) {
            continue;
        }
        const query = variables[name];
        const columns = parse(name, query);
        if (!type.endsWith("/alertRules")) {
            continue;
        }
        const names = mapped(properties);
        counts.columns += names.length;
        names.filter((column) => !columns.includes(column)).forEach((column) => fail(name, `no column ${column}`));
        FORBIDDEN_IN_RULES.filter((word) => word.test(query)).forEach((word) => fail(name, `has ${word}`));
        if (query.length > LONGEST_RULE) {
            fail(name, `${query.length} characters`);
        }
    }
    const documents = [...files(path.join(folder, "Workbooks"), ".json"),
        ...files(path.join(folder, "Data Connectors"), ".json")];
    for (const file of documents) {
        for (const { place, text } of queriesOf(JSON.parse(fs.readFileSync(file, "utf8")), path.basename(file))) {
            parse(place, text);
        }
    }
    // `verify --kql` prints the first as they are, and the relay asks the second.
    for (const file of ["kql/verify", "kql/hits"].flatMap((one) => files(path.join(folder, one), ".kql"))) {
        parse(file, fs.readFileSync(file, "utf8"));
    }
    console.log(`${counts.queries} queries, ${counts.columns} mapped columns, ${counts.faults} faults`);
    return counts.columns === 0 || counts.faults > 0 ? 1 : 0;
}

process.exitCode = main(process.argv[2]);
